"""Focal loss, in its softmax form.

Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002, equation 4:
loss = -(1 - p_y) ** gamma * log p_y, with p = softmax(z).
Deviation: softmax over classes instead of one-vs-all sigmoids, as the long-tail literature uses it.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Mean of -(1 - p_y) ** gamma * log p_y. logits: [B, C], labels: [B] -> 0-dim."""
    log_p = -F.cross_entropy(logits, labels, reduction="none")
    return -((-log_p.expm1()).clamp_min(1e-12) ** gamma * log_p).mean()


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
