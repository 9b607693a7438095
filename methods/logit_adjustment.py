"""Logit adjustment, in the loss.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314,
equation 10: cross-entropy of z + tau * log(pi) in training, plain z at test.
Deviation: none. With tau = 1 it equals balanced softmax.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import log_prior


class LogitAdjustment(Method):
    """Cross-entropy of logits that carry the log prior of their class."""

    tau = Range(1.0, 0.5, 2.0)
    corrects = "log prior in the logits"
    published = (
        Figure("cifar10", "100", 77.67, "Menon21 table 3", "F1", "A"),
        Figure("cifar100", "100", 43.89, "Menon21 table 3", "F1", "A"),
    )

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images).float() + self.tau * self.log_prior, batch.labels)
