"""Cross-entropy weighted by inverse class frequency ("cost-sensitive").

Japkowicz, Stephen: The Class Imbalance Problem, 2002: class weights n_j ** -exponent, scaled to sum to C. Exponent 1
gives 1 / n_j, 1/2 gives 1 / sqrt(n_j). Weights from the first step on can lower the accuracy, as published.
Deviation: as in PyTorch, the mean over a batch divides by the sum of its weights.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range


def frequency_weights(counts: Tensor, exponent: float) -> Tensor:
    """Weights n_j ** -exponent, scaled to sum to C. counts: [C] -> [C]."""
    weights = counts**-exponent
    return weights * len(counts) / weights.sum()


class WeightedCrossEntropy(Method):
    """Cross-entropy with a larger weight for rare classes, from the first step."""

    exponent = Range(1.0, 0.0, 1.0)
    corrects = "class weights in the loss"
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True, "exponent": 1.0},
        accuracies={"cifar10": {100: 68.3, 50: 76.8}, "cifar100": {100: 32.27, 50: 36.51}},
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = frequency_weights(counts, self.exponent).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, self.weights)
