"""Cross-entropy weighted by inverse class frequency ("cost-sensitive").

The oldest remedy (Japkowicz, Stephen: The Class Imbalance Problem, 2002): class weights n_j ** -exponent, scaled to sum
to C. Exponent 1 is 1 / n, 1/2 the square root of it. Applied from the first step it may hurt, as published.
Deviation: as in PyTorch, the mean of a batch divides by its weights.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range


def frequency_weights(counts: Tensor, exponent: float) -> Tensor:
    """Weights n_j ** -exponent, scaled to sum to C. counts: [C] -> [C]."""
    weights = counts**-exponent
    return weights * len(counts) / weights.sum()


class WeightedCrossEntropy(Method):
    """Cross-entropy in which rare classes count more, from the first step."""

    exponent = Range(1.0, 0.0, 1.0)
    corrects = "class weights in the loss"
    published = (
        Figure("cifar10", "100", 68.30, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 76.80, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 32.27, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 36.51, "BagofTricks-LT gallery", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = frequency_weights(counts, self.exponent).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, self.weights)
