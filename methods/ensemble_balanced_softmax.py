"""An ensemble of three balanced-softmax experts with a shared first part: the control for methods with experts.

Each of the three branches has its own balanced-softmax loss (Ren et al., NeurIPS 2020, arXiv 2007.10740); their mean
logits predict. Each owns the last two stages at full width, as in `balpoe`, so no method with experts has a larger
network or a higher cost, and each should beat it (compare Buchanan et al., 2023, on ensembles for long tails); the
experts of `ride` and `sade` are narrower. The heads are linear, as in `balanced_softmax`, whose ensemble this is.
Deviation: our own control, not from a paper.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network
from ltbench.method.functional import log_prior


class EnsembleBalancedSoftmax(Method):
    """Three experts, each trained with balanced softmax; their mean logits predict."""

    branches = 3
    branches_own = "last two stages"
    heads = ("first", "second", "third")
    corrects = "log prior in the logits"
    cost = 2.3

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = net.experts(batch.images).float() + self.log_prior
        return F.cross_entropy(logits.flatten(0, 1), batch.labels.repeat(3)) * 3

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return net.experts(images).mean(0)
