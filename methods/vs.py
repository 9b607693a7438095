"""VS loss: vector scaling.

Kini, Paraskevas, Oymak, Thrampoulidis: Label-Imbalanced and Group-Sensitive Classification under
Overparameterization, NeurIPS 2021, arXiv 2103.01550, equation 2: cross-entropy of (n_j / n_max) ** gamma z_j + tau
log(pi_j) in training, plain z at test time. It joins `cdt` (tau = 0) and `logit_adjustment` (gamma = 0).
Deviation: none. The authors choose gamma and tau for each data set.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range
from ltbench.method.functional import log_prior


class VectorScaling(Method):
    """Cross-entropy whose logits are multiplied and shifted by class frequency during training."""

    gamma = Range(0.2, 0.0, 0.5)
    tau = Range(1.2, 0.5, 2.0)
    corrects = "log prior in the logits"

    def setup(self, counts: Tensor) -> None:
        self.factors = ((counts / counts.max()) ** self.gamma).float()
        self.shift = (self.tau * log_prior(counts)).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(self.factors * net(batch.images).float() + self.shift, batch.labels)
