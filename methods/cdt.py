"""CDT: class-dependent temperatures.

Ye, Chen, Zhan, Chao: Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, 2020, arXiv
2001.01385, equation 5: in training the logit of class j is multiplied by (n_j / n_max) ** gamma, at test it is not.
Deviation: none.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range


def temperatures(counts: Tensor, gamma: float) -> Tensor:
    """Factors (n_j / n_max) ** gamma. counts: [C] -> [C]."""
    return (counts / counts.max()) ** gamma


class Cdt(Method):
    """Cross-entropy with the logits of rare classes scaled down during training."""

    gamma = Range(0.2, 0.0, 0.4)
    corrects = "class-dependent temperatures in the logits"
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.nesterov": True, "gamma": 0.2},
        accuracies={"cifar10": {100: 77.1, 50: 81.81}, "cifar100": {100: 39.59, 50: 44.83}},
    )

    def setup(self, counts: Tensor) -> None:
        self.factors = temperatures(counts, self.gamma).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images).float() * self.factors, batch.labels)
