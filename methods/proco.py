"""ProCo: probabilistic contrastive learning.

Du, Wang, Song, Huang: Probabilistic Contrastive Learning for Long-Tailed Visual Recognition, TPAMI 2024, arXiv
2403.06726: the points of a class are von Mises-Fisher distributed, with mean direction m_j and concentration kappa_j =
D R_j / (1 - R_j ** 2), where R_j is the length of the mean point. The contrastive loss of infinitely many samples is
then a cross-entropy with the logits log pi_j + log C(kappa_j) - log C(|kappa_j m_j + z / T|), C(x) = x ** v / I_v(x), v
= D / 2 - 1. Logit adjustment for the classifier is added. As in the authors' code, means are those of the last epoch
and of this one so far, and the first of three views is classified and the other two are contrasted.
Deviation: Bessel functions by their uniform expansion (code: Miller's recurrence, which is inexact for large kappa).
The views are those of `bcl`.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Again, Augmented, Batch, Clock, Method, Network, Published, Range, Stage, instance_balanced
from ltbench.method.directions import Means, contrast_logits
from ltbench.method.functional import log_prior

WIDTH, HIDDEN = 128, 512  # of the points, and of the layer before them


class Proco(Method):
    """Logit adjustment, and a contrastive loss with the expectation over points of every class."""

    streams = {
        "classified": Augmented(instance_balanced, "autoaugment+cutout"),
        "first": Again("classified", "randaugment"),
        "second": Again("classified", "randaugment"),
    }
    heads = ("main", "points")
    needs_pixels = "needs two views of each image"
    weight = Range(1.0, 0.1, 2.0, log=True)
    temperature = Range(0.1, 0.05, 0.3, log=True)
    corrects = "log prior in the logits"
    cost = 3.0
    published = Published.table(
        source="ProCo",
        family="F3",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={
            "recipe.batch_size": 256,
            "recipe.lr": 0.3,
            "recipe.decay": 0.1,
            "recipe.weight_decay": 2e-4,
            "views": "SimAugment",
        },
        accuracies={"cifar10": {100: 85.9, 50: 88.2, 10: 91.9}, "cifar100": {100: 52.8, 50: 57.1, 10: 65.5}},
    ) + Published.table(
        source="ProCo",
        family="other",
        grade="A",
        backbone="resnet50",
        settings={"views": "SimAugment", "crops": "of the original files"},
        settings_of={"imagenet-lt": {"natural": {"recipe.epochs": 90}}},
        accuracies={"imagenet-lt": {"natural": 57.3}, "inaturalist2018": {"natural": 73.5}},
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage(project=self.next_epoch, project_after="epoch"),)

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name == "main":
            return super().build_head(name, width, classes)
        return nn.Sequential(nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        return nn.ModuleDict({"means": Means(len(counts), WIDTH)})

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def next_epoch(self, net: Network) -> None:
        """Forget the last epoch."""
        means = net.memory.get_submodule("means")
        assert isinstance(means, Means)
        means.next_epoch()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        means = net.memory.get_submodule("means")
        assert isinstance(means, Means)
        features, labels = net.features(batch.images), batch.part("classified", batch.labels)
        points = F.normalize(net.heads["points"](features).float())
        logits = net.heads["main"](batch.part("classified", features)).float()
        total = F.cross_entropy(logits + self.log_prior, labels)
        for name in ("first", "second"):
            view = batch.part(name, points)
            means.add(view.detach(), labels)
            contrast = contrast_logits(view, means.points[0].clone(), self.temperature)
            total = total + self.weight / 2 * F.cross_entropy(contrast + self.log_prior, labels)
        return total
