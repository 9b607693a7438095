"""Focal loss, in its softmax form.

Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002, equation 4:
loss = -(1 - p_y) ** gamma * log p_y, with p = softmax(z).
Deviation: softmax over classes instead of one-vs-all sigmoids, as the long-tail literature uses it.
"""

from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import focal_loss


class Focal(Method):
    """Cross-entropy that counts well-classified examples less."""

    gamma = Range(1.0, 0.25, 3.0)
    published = (
        Figure("cifar10", "100", 70.38, "Cao19 table 2", "F1", "A"),
        Figure("cifar10", "10", 86.66, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "100", 38.41, "Cao19 table 2", "F1", "A"),
        Figure("cifar100", "10", 55.78, "Cao19 table 2", "F1", "A"),
    )

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return focal_loss(net(batch.images), batch.labels, self.gamma)
