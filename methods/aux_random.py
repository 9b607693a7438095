"""Auxiliary learning with a random-sampling task.

Zhang, Liu, Wang, Shen: To Balance or Not to Balance: A Simple-yet-Effective Approach for Learning with Long-Tailed
Distributions, 2019, arXiv 1912.04486. A class-balanced stream trains the primary classifier and the features; a second
classifier on an ordinarily shuffled stream trains the features too: CE(primary; balanced) + weight * CE(auxiliary;
random). The primary classifier predicts.
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. One forward pass processes both streams.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ltbench import AuxiliaryLearning, Batch, Choice, Network, Range


class AuxRandom(AuxiliaryLearning):
    """Class-balanced training, with a second classifier on ordinary batches as an auxiliary task for the features."""

    heads = ("primary", "auxiliary")
    weight = Range(1.0, 0.1, 3.0, log=True)
    predicts = Choice("primary", ("primary", "auxiliary"))  # the head used at test time
    cost = 2.0

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logits = net.heads["auxiliary"](features["auxiliary"])
        return self.weight * F.cross_entropy(logits, batch.part("auxiliary", batch.labels))

    def predict(self, net: Network, images: Tensor) -> Tensor:
        logits: Tensor = net.heads[self.predicts](net.features(images))
        return logits
