"""Class-balanced loss: cross-entropy weighted by the effective number of samples.

Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555,
equation 2: weight (1 - beta) / (1 - beta ** n_j), scaled to sum to C, from the first step.
Deviation: none from the code of Cao et al. (whose weighted mean divides by the weights of the batch).
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import effective_number_weights


class ClassBalancedCrossEntropy(Method):
    """Cross-entropy with classes weighted by their effective number, from the first step."""

    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Figure("cifar10", "100", 72.37, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "10", 86.54, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 33.99, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "10", 57.12, "Cao19 table 2", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images), batch.labels, self.weights)
