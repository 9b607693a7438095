"""SEQL: softmax equalisation loss.

Tan, Wang, Li, Li, Ouyang, Yin, Yan: Equalization Loss for Long-Tailed Object Recognition, CVPR 2020, arXiv 2003.05176:
p_y = exp(z_y) / sum_k w_k exp(z_k) with w_k = 1 - b t_k (1 - y_k), where t_k = 1 for classes rarer
than ``threshold``, and b = 1 with probability gamma: images of other classes do not lower the logits of rare ones.
Deviation: b is drawn for each image and class, as in the code of Bag of Tricks (Zhang et al., AAAI 2021), whose
accuracies are given. Its threshold is 0.05 on CIFAR-10, for which it has none.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import spread


class SoftmaxEqualisation(Method):
    """Cross-entropy in which images of other classes seldom lower the logits of rare classes."""

    gamma = Range(0.9, 0.5, 1.0)
    threshold = Range(0.005, 0.001, 0.1, log=True)  # share of the training images below which a class is rare
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True, "gamma": 0.9},
        settings_of={"cifar100": {100: {"threshold": 0.005}, 50: {"threshold": 0.006}}},
        accuracies={"cifar100": {100: 40.49, 50: 44.81}},
    )

    def setup(self, counts: Tensor) -> None:
        self.rare = counts / counts.sum() < self.threshold

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.random((1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        logits = net(batch.images).float()
        places = torch.arange(logits.shape[1], device=logits.device)
        ignored = (spread(batch.noise[0], logits.shape[1]) < self.gamma) & self.rare & (batch.labels[:, None] != places)
        return F.cross_entropy(logits.masked_fill(ignored, -torch.inf), batch.labels)
