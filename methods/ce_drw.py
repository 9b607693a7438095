"""Cross-entropy with deferred re-weighting (DRW).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, section 3.3 and algorithm 1: plain cross-entropy first; from the first learning-rate decay on, classes
are weighted by their effective number, (1 - beta) / (1 - beta ** n_j).
Deviation: none from the authors' code, where the mean over a batch divides by the sum of its weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import effective_number_weights


class CrossEntropyDrw(Method):
    """Cross-entropy, with class weights late in training."""

    defer_at = Range(0.8, 0.7, 0.95)  # progress of training from which classes are weighted
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Published.table(
            source="Cao19 tables 2 and 5",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.classifier_init": "ldam", "defer_at": 0.8, "beta": 0.9999},
            accuracies={"cifar10": {100: 74.86, 10: 86.88}, "cifar100": {100: 40.66, 10: 57.32}},
        )
        + Published.table(
            source="BagofTricks-LT gallery",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True, "defer_at": 0.8},
            settings_of={"cifar10": {50: {"beta": 0.9999}}, "cifar100": {50: {"beta": 0.9}}},
            accuracies={"cifar10": {50: 79.35}, "cifar100": {50: 43.37}},
        )
        + Published.table(
            source="Cao19, iNaturalist 2018",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"crops": "of the original files"},
            accuracies={"inaturalist2018": {"natural": 63.73}},
        )
        + Published.table(
            source="MiSLAS",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"recipe.epochs": 180, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 48.5}},
        )
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        weights = torch.where(clock.progress >= self.defer_at, self.weights, torch.ones_like(self.weights))
        return F.cross_entropy(net(batch.images), batch.labels, weights)
