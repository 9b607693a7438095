"""Logit adjustment, post hoc.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314,
equation 9: the network of plain cross-entropy predicts argmax of z - tau * log(pi). Nothing is trained.
With ``choose=val`` tau is that of 0, 0.1, ..., 3 with the best balanced accuracy on validation images.
Deviation: none. The paper's tau* is read off its evaluation set and is not what ``choose=val`` does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltbench import Choice, Features, Figure, Method, Network, Range, Stage
from ltbench.method.functional import log_prior
from ltbench.metrics import best_on


class LogitAdjustmentPosthoc(Method):
    """Plain training, then the log prior is taken off the logits."""

    after = "ce"
    tau = Range(1.0, 0.0, 3.0)
    choose = Choice("given", ("given", "val"), searched=False)
    corrects = "log prior off the logits"
    published = (
        Figure("cifar10", "100", 77.40, "Menon21 table 3", "F1", "A"),
        Figure("cifar100", "100", 41.76, "Menon21 table 3", "F1", "A"),
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage("post-hoc", epochs=0, finish="adjust"),)

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def adjust(self, net: Network, features: Features) -> None:
        """Take tau * log(pi) off the bias."""
        tau, head = self.tau, net.heads["main"]
        if self.choose == "val":
            seen, labels = features("val")
            logits = head(seen)
            grid = [k / 10 for k in range(31)]
            tau = best_on(labels, {tau: logits - tau * self.log_prior for tau in grid})
        bias = head.get_parameter("bias")
        bias.copy_(bias - torch.as_tensor(tau) * self.log_prior)
