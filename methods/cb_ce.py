"""Class-balanced loss: cross-entropy weighted by the effective number of samples.

Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555,
equation 2: class weights (1 - beta) / (1 - beta ** n_j), scaled to sum to C, from the first step.
Deviation: none from the code of Cao et al., where the mean over a batch divides by the sum of its weights.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import effective_number_weights


class ClassBalancedCrossEntropy(Method):
    """Cross-entropy weighted by the effective number of samples of each class, from the first step."""

    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = Published.table(
        source="Cao19 table 2",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.classifier_init": "ldam", "beta": 0.9999},
        accuracies={"cifar10": {100: 72.37, 10: 86.54}, "cifar100": {100: 33.99, 10: 57.12}},
    ) + Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True},
        settings_of={"cifar10": {50: {"beta": 0.9999}}, "cifar100": {50: {"beta": 0.9}}},
        accuracies={"cifar10": {50: 77.48}, "cifar100": {50: 43.78}},
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, self.weights)
