"""An ensemble of three balanced-softmax experts with shared first stages: the control for methods with experts.

Each of the three branches has its own balanced-softmax loss (Ren et al., NeurIPS 2020, arXiv 2007.10740); their mean
logits predict. Size and cost are those of `ride`, `sade` and `balpoe`, so a method with experts should beat it (compare
Buchanan et al., 2023, on ensembles for long tails). Deviation: our own control, not from a paper.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network
from ltbench.method.functional import log_prior


class EnsembleBalancedSoftmax(Method):
    """Three experts, each trained with balanced softmax; their mean logits predict."""

    branches = 3
    heads = ("first", "second", "third")
    corrects = "log prior in the logits"
    cost = 1.7

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = net.experts(batch.images).float() + self.log_prior
        return F.cross_entropy(logits.flatten(0, 1), batch.labels.repeat(3)) * 3

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return net.experts(images).mean(0)
