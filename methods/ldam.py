"""LDAM: label-distribution-aware margins, without deferred re-weighting.

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, equations 12 and 13. The margin of class j, M * n_j ** -1/4 / max_k n_k ** -1/4, is subtracted from
the label's cosine, which is then multiplied by the scale s. Deviation: none.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import ldam_margins, subtract_margin


class Ldam(Method):
    """Cosine classifier with larger margins for rare classes."""

    classifier = "cosine"
    max_margin = Range(0.5, 0.1, 0.8)
    scale = Range(30.0, 10.0, 40.0, log=True)
    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"max_margin": 0.5, "scale": 30.0},
            accuracies={"cifar10": {100: 73.35, 10: 86.96}, "cifar100": {100: 39.6, 10: 56.91}},
        )
        + Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={
                "recipe.nesterov": True,
                "max_margin": 0.5,
                "scale": 30.0,
                "initial classifier": "columns, not rows, of length 1",
            },
            accuracies={"cifar10": {50: 79.01}, "cifar100": {50: 43.59}},
        )
        + Published.table(
            source="Cao19, iNaturalist 2018",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"max_margin": 0.3, "scale": 30.0, "crops": "of the original files"},
            accuracies={"inaturalist2018": {"natural": 64.58}},
        )
        + Published.table(
            source="Survey (Zhang et al., TPAMI 2023)",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={
                "recipe.epochs": 90,
                "recipe.batch_size": 256,
                "recipe.lr": 0.1,
                "schedule": "linear",
                "crops": "of the original files",
            },
            accuracies={"imagenet-lt": {"natural": 51.1}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.margins = ldam_margins(counts, self.max_margin).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        cosines = subtract_margin(net(batch.images).float(), batch.labels, self.margins)
        return F.cross_entropy(self.scale * cosines, batch.labels)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * super().predict(net, images)
