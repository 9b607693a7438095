"""Mixup.

Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412: images l x_i +
(1 - l) x_j with loss l CE(y_i) + (1 - l) CE(y_j), l ~ Beta(alpha, alpha), one l per batch as in the authors' code. Not
made for long tails; two-stage methods use its features. Deviation: x_j is the previous image of the shuffled batch.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Published, Range
from ltbench.method.functional import mixed, mixed_cross_entropy


class Mixup(Method):
    """Cross-entropy on mixtures of two images and their labels."""

    alpha = Range(1.0, 0.1, 1.0)
    published = Published.table(
        source="MiSLAS (copy)",
        family="F1",
        grade="B",
        accuracies={"cifar10": {100: 73.06, 10: 87.1}, "cifar100": {100: 39.54, 50: 44.99, 10: 58.02}},
    )

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share = batch.noise[0, 0]
        return mixed_cross_entropy(net(mixed(batch.images, share)), batch.labels, share)
