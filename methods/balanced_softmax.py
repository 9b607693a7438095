"""Balanced softmax.

Ren, Yu, Sheng, Ma, Zhao, Yi, Li: Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv
2007.10740, equation 3: p_y = n_y exp(z_y) / sum_j n_j exp(z_j) in training, plain softmax at test.
Deviation: without the meta sampler. It equals logit adjustment with tau = 1.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network


def balanced_softmax(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Mean of -log(n_y exp(z_y) / sum_j n_j exp(z_j)). logits: [B, C], labels: [B], counts: [C] -> 0-dim."""
    return F.cross_entropy(logits + counts.log(), labels)


class BalancedSoftmax(Method):
    """Cross-entropy in which each class is weighed by its size inside the softmax."""

    corrects = "log prior in the logits"
    published = (
        Figure("cifar10", "100", 77.54, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar10", "50", 81.11, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "100", 42.99, "BagofTricks-LT gallery", "F1", "A"),
        Figure("cifar100", "50", 46.55, "BagofTricks-LT gallery", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.counts = counts.float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return balanced_softmax(net(batch.images).float(), batch.labels, self.counts)
