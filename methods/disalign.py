"""DisAlign: distribution alignment of a trained classifier.

Zhang, Li, Yan, He, Sun: Distribution Alignment: A Unified Framework for Long-tail Visual Recognition, CVPR 2021, arXiv
2103.16370. Stage 1 is cross-entropy, shared with `ce`. Stage 2 freezes the network and trains a
scale and a shift for each class, and a confidence s of the image: z' = (1 + s a) z + s b, s = sigmoid(v h + c),
with class weights ~ n_j ** -rho on ordinary batches. As in the authors' code, a begins with 1, b with 0, v with 0.1.
The paper writes s (a z + b) + (1 - s) z, which is the same with another a, except that weight decay leads to z here.
Deviation: the length of stage 2 is a fraction of the recipe's epochs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Decoupled, Network, Published, Range, instance_balanced


class Alignment(nn.Module):
    """Scale and shift of the logits of each class, mixed in by the confidence of the image."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(classes))
        self.shift = nn.Parameter(torch.zeros(classes))
        self.confidence = nn.Linear(width, 1)
        nn.init.constant_(self.confidence.weight, 0.1)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Features [B, D] and logits [B, C] -> aligned logits [B, C]."""
        confidence = torch.sigmoid(self.confidence(features))
        return (1 + confidence * self.scale) * logits + confidence * self.shift


class Disalign(Decoupled):
    """Cross-entropy, then scales and shifts of the logits are trained with class weights."""

    after = "ce"
    heads = ("main", "align")
    streams = {"main": instance_balanced}
    rho = Range(1.2, 0.5, 2.0)
    corrects = "class weights in the loss"
    published = Published.table(
        source="DisAlign, repository",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={
            "recipe.batch_size": 256,
            "recipe.lr": 0.1,
            "rho": 1.2,
            "epochs": 0.11,
            "crops": "of the original files",
        },
        accuracies={"imagenet-lt": {"natural": 52.438}},
        groups={"imagenet-lt": {"natural": (61.439, 50.53, 33.676)}},
    ) + Published.table(
        source="DisAlign (copies in later papers)",
        family="other",
        grade="B",
        backbone="resnet152",
        settings={"crops": "of the original files"},
        accuracies={"places-lt": {"natural": 39.3}},
    )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return Alignment(width, classes) if name == "align" else super().build_head(name, width, classes)

    def retrains(self) -> dict[str, float]:
        return {"heads.align.*": 1.0}

    def setup(self, counts: Tensor) -> None:
        self.weights = ((counts / counts.sum()) ** -self.rho).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(self.predict(net, batch.images).float(), batch.labels, self.weights)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        features = net.features(images)
        aligned: Tensor = net.heads["align"](features, net.heads["main"](features))
        return aligned
