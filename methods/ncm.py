"""NCM: nearest class mean.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: Decoupling Representation and Classifier for Long-Tailed Recognition,
ICLR 2020, arXiv 1910.09217, section 4.2. After training with cross-entropy, an image is assigned to the class with the
nearest mean feature; the means are computed on un-augmented training images. With the metric ``cl2n``, the default of
the authors' code, features are first centred by the training mean and L2-normalised.
Deviation: none. Logits are negative squared distances, or cosines for the metric ``cosine``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Choice, Features, Method, Network, Published, Stage


class NearestMean(nn.Module):
    """Features [B, D] -> logits [B, C], from the distance to each class mean."""

    def __init__(self, width: int, classes: int, metric: str) -> None:
        super().__init__()
        self.metric = metric
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("means", torch.zeros(classes, width))

    def placed(self, features: Tensor) -> Tensor:
        """Transform features [B, D] for the metric."""
        if self.metric == "cl2n":
            return F.normalize(features - self.get_buffer("centre"))
        return F.normalize(features) if self.metric == "cosine" else features

    def forward(self, features: Tensor) -> Tensor:
        x, means = self.placed(features.float()), self.get_buffer("means")
        return x @ F.normalize(means).T if self.metric == "cosine" else -torch.cdist(x, means).square()


class Ncm(Method):
    """Cross-entropy, then prediction of the class with the nearest mean feature."""

    after = "ce"
    metric = Choice("cl2n", ("cl2n", "l2", "cosine"))
    published = Published.table(
        source="Kang20, repository",
        family="other",
        grade="A",
        backbone="resnext50_32x4d",
        settings={"recipe.epochs": 90, "crops": "of the original files"},
        accuracies={"imagenet-lt": {"natural": 47.3}},
        groups={"imagenet-lt": {"natural": (56.6, 45.3, 28.1)}},
    ) + Published.table(
        source="Kang20 (copies in later papers)",
        family="other",
        grade="B",
        backbone="resnet152",
        settings={"crops": "of the original files"},
        accuracies={"places-lt": {"natural": 36.4}},
        groups={"places-lt": {"natural": (40.4, 37.1, 27.3)}},
    )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return NearestMean(width, classes, self.metric)

    def stages(self) -> Sequence[Stage]:
        return (Stage("post-hoc", epochs=0, new_heads=True, finish=self.take_means),)

    def take_means(self, net: Network, features: Features) -> None:
        """Compute the class means of the training features."""
        head, (seen, labels) = net.heads["main"], features("train")
        assert isinstance(head, NearestMean)
        head.get_buffer("centre").copy_(seen.mean(0))
        placed, means = head.placed(seen), head.get_buffer("means")
        means.zero_().index_add_(0, labels, placed).div_(labels.bincount(minlength=len(means))[:, None])
