"""Cross-entropy with deferred re-weighting (DRW).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, section 3.3 and algorithm 1: plain cross-entropy first; from the first learning-rate decay on, classes
are weighted by their effective number, (1 - beta) / (1 - beta ** n_j).
Deviation: none from the authors' code (whose weighted mean divides by the weights of the batch).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import effective_number_weights


class CrossEntropyDrw(Method):
    """Cross-entropy, with class weights late in training."""

    defer_at = Range(0.8, 0.7, 0.95)  # fraction of the training after which classes are weighted
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Figure("cifar10", "100", 74.86, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "50", 79.82, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "10", 86.88, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 40.66, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "50", 46.80, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "10", 57.32, "Cao19 table 2", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        weights = torch.where(clock.progress >= self.defer_at, self.weights, torch.ones_like(self.weights))
        return F.cross_entropy(net(batch.images), batch.labels, weights)
