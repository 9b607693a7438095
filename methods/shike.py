"""SHIKE: self-heterogeneous integration with knowledge excavation.

Jin, Li, Lu, Cheung, Wang: Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge Excavation,
CVPR 2023, arXiv 2304.01279. Three experts share all stages but the last. Each multiplies the feature map of its own
last stage with that of a shared stage (first, second, first of ResNet-32), after convolutions of stride 2. Phase 1 sums
over experts the cross-entropy, ``suppression`` * KL(teacher || expert without the label's class), where the teacher has
the experts' mean logit for the hardest other class and their largest one for the rest, and ``transfer`` * the sum of
KL(p_j || p_k) over the other experts j. Phase 2 trains new classifiers with balanced softmax. The mean logits predict.
As in the authors' code, the label's logit is 0 in the teacher and the lowest possible one in an expert, and gradients
pass through teachers. It divides both divergences by the number of classes, which is 100 there, and the first weight is
10: here it is 10 / 100 for any number of classes. It needs long training: on digits it has 44.2 % after 20 epochs and
85.5 after 60 (one seed), `ce` 60.6 and 73.6.
Deviation: phase 2 has no warm-up of its own. The authors' ResNet-32 has shortcuts with weights. Their code is for CIFAR
only; on four stages, the same rules give stages 1 to 3 to the experts.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage
from ltbench.method.functional import mutual_divergence
from ltbench.models.fused import Fused
from ltbench.models.network import Branched


def from_teacher(logits: Tensor, labels: Tensor, lowest: float) -> Tensor:
    """Sum over experts of the mean KL(teacher || expert without the label). logits: [K, B, C], labels: [B] -> 0-dim."""
    own = labels[:, None] == torch.arange(logits.shape[2], device=logits.device)
    mean = logits.mean(0)
    hardest = mean.masked_fill(own, lowest)
    hardest = hardest == hardest.amax(1, keepdim=True)
    teacher = torch.where(hardest, mean, logits.amax(0)).masked_fill(own, 0.0)
    log_t, log_q = teacher.log_softmax(1), logits.masked_fill(own, lowest).log_softmax(2)
    return (log_t.exp() * (log_t - log_q)).sum(2).mean(1).sum()


class Shike(Method):
    """Three experts of different depths that learn from each other; then balanced classifiers."""

    classifier = "cosine"
    branches = 3
    heads = ("first", "second", "third")
    needs_pixels = "multiplies feature maps of several stages"
    suppression = Range(0.1, 0.01, 1.0, log=True)
    transfer = Range(0.01, 0.001, 0.1, log=True)
    scale = Range(30.0, 10.0, 40.0, log=True)
    epochs = Range(0.1, 0.05, 0.3)  # of phase 2; phase 1 has the rest
    lr = Range(0.1, 0.01, 0.5, log=True)  # of phase 2
    corrects = "log prior in the logits"
    cost = 1.6
    published = (
        Published.table(
            source="SHIKE",
            family="F3",
            grade="A",
            epoch="last",
            settings={"recipe.lr": 0.15, "recipe.schedule": "cosine", "network": "shortcuts with weights"},
            accuracies={"cifar100": {100: 56.3}},
            groups={"cifar100": {100: (73.4, 56.5, 36.0)}},
        )
        + Published.table(
            source="SHIKE (copies in later papers)",
            family="F3",
            grade="B",
            settings={"network": "shortcuts with weights"},
            accuracies={"cifar100": {50: 59.8}},
        )
        + Published.table(
            source="SHIKE",
            family="other",
            grade="A",
            backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"crops": "of the original files"},
            accuracies={
                "imagenet-lt": {"natural": 60.3},
                "places-lt": {"natural": 41.9},
                "inaturalist2018": {"natural": 75.4},
            },
        )
    )

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        assert isinstance(backbone, Branched)
        return Fused(backbone.trunk, list(backbone.tails))

    def stages(self) -> Sequence[Stage]:
        return (
            Stage("experts", epochs=1 - self.epochs),
            Stage(
                "classifiers",
                "heads",
                new_heads=True,
                epochs=self.epochs,
                lr=self.lr,
                schedule="cosine",
                loss=self.balanced,
            ),
        )

    def setup(self, counts: Tensor) -> None:
        self.log_counts = counts.log().float()

    def logits(self, net: Network, images: Tensor) -> Tensor:
        """Compute the logits of every expert, [K, B, C]."""
        return self.scale * net.experts(images).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits, labels = self.logits(net, batch.images), batch.labels.repeat(3)
        plain = 3 * F.cross_entropy(logits.flatten(0, 1), labels)
        suppressed = from_teacher(logits, batch.labels, -self.scale)
        return plain + self.suppression * suppressed + self.transfer * mutual_divergence(logits)

    def balanced(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute balanced softmax of every expert."""
        logits = self.logits(net, batch.images) + self.log_counts
        return 3 * F.cross_entropy(logits.flatten(0, 1), batch.labels.repeat(3))

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.logits(net, images).mean(0)
