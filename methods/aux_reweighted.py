"""Auxiliary learning with a class-wise re-weighted task.

Zhang, Liu, Wang, Zhang: Exploring the Auxiliary Learning for Long-Tailed Visual Recognition, Neurocomputing 449, 2021
(journal version of arXiv 1912.04486). A second classifier on the ordinarily shuffled stream is trained with class
weights: CE(primary; balanced) + weight * CE_w(auxiliary; random).
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. The class weights are those of the
class-balanced loss (effective number of samples).
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ltbench import AuxiliaryLearning, Batch, Network, Range
from ltbench.method.functional import effective_number_weights


class AuxReweighted(AuxiliaryLearning):
    """Class-balanced training, with a classifier trained by weighted cross-entropy as an auxiliary task."""

    heads = ("primary", "reweighted")
    weight = Range(1.0, 0.1, 2.0, log=True)
    beta = Range(0.9999, 0.9, 0.9999)
    cost = 2.0

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logits = net.heads["reweighted"](features["auxiliary"])
        return self.weight * F.cross_entropy(logits, batch.part("auxiliary", batch.labels), self.weights)
