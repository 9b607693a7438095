"""Class-balanced loss: focal loss weighted by the effective number of samples.

Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555,
equation 2: weight (1 - beta) / (1 - beta ** n_j), scaled to sum to C, from the first step.
Deviation: softmax form; the modulating factor is of the unweighted p_y; the mean divides by the batch size.
"""

from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import effective_number_weights, focal_loss


class ClassBalancedFocal(Method):
    """Focal loss with classes weighted by their effective number, from the first step."""

    gamma = Range(1.0, 0.25, 3.0)
    beta = Range(0.9999, 0.9, 0.9999)
    corrects = "class weights in the loss"
    published = (
        Figure("cifar10", "100", 74.57, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "10", 87.10, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 36.02, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "10", 57.99, "Cao19 table 2", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return focal_loss(net(batch.images), batch.labels, self.gamma, self.weights)
