"""LDAM with deferred re-weighting (DRW).

Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
arXiv 1906.07413, equations 12 and 13. The margin of class j, M * n_j ** -1/4 / max_k n_k ** -1/4, is taken off the
target's cosine before the scale s. Late in training classes are weighted by their effective number.
Deviation: none from the authors' code (whose weighted mean divides by the weights of the batch).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import effective_number_weights, ldam_margins, subtract_margin


class LdamDrw(Method):
    """Margins that grow for rare classes; class weights only late in training."""

    classifier = "cosine"
    max_margin = Range(0.5, 0.1, 0.8)
    scale = Range(30.0, 10.0, 40.0, log=True)
    defer_at = Range(0.8, 0.7, 0.95)  # fraction of the training after which classes are re-weighted
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Figure("cifar10", "100", 77.03, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "10", 88.16, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 42.04, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "10", 58.71, "Cao19 table 2", "F1", "A"),
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
