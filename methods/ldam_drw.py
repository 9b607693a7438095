"""LDAM with deferred re-weighting (DRW).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, equations 12 and 13. The margin of class j, M * n_j ** -1/4 / max_k n_k ** -1/4, is subtracted from
the label's cosine, which is then multiplied by the scale s. Late in training classes are weighted by their effective
number (section 3.3).
Deviation: none from the authors' code, where the mean over a batch divides by the sum of its weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import effective_number_weights, ldam_margins, subtract_margin


class LdamDrw(Method):
    """Cosine classifier with larger margins for rare classes, and class weights late in training."""

    classifier = "cosine"
    max_margin = Range(0.5, 0.1, 0.8)
    scale = Range(30.0, 10.0, 40.0, log=True)
    defer_at = Range(0.8, 0.7, 0.95)  # progress of training from which classes are weighted
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"max_margin": 0.5, "scale": 30.0, "defer_at": 0.8, "beta": 0.9999},
            accuracies={"cifar10": {100: 77.03, 10: 88.16}, "cifar100": {100: 42.04, 10: 58.71}},
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
                "defer_at": 0.8,
                "beta": 0.9999,
                "initial classifier": "other",
            },
            accuracies={"cifar10": {50: 81.6}, "cifar100": {50: 47.29}},
        )
        + Published.table(
            source="Cao19, iNaturalist 2018",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"max_margin": 0.3, "scale": 30.0, "crops": "of the original files"},
            accuracies={"inaturalist2018": {"natural": 68.0}},
        )
        + Published.table(
            source="MiSLAS",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 180, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 48.8}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.margins = ldam_margins(counts, self.max_margin).float()
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = self.scale * subtract_margin(net(batch.images).float(), batch.labels, self.margins)
        weights = torch.where(clock.progress >= self.defer_at, self.weights, torch.ones_like(self.weights))
        return F.cross_entropy(logits, batch.labels, weights)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return self.scale * super().predict(net, images)
