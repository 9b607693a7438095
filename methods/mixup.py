"""Mixup.

Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412: images l x_i +
(1 - l) x_j with loss l CE(y_i) + (1 - l) CE(y_j), l ~ Beta(alpha, alpha), one l a batch as in the authors' code. Not
meant for long tails; two-stage methods build on its features. Deviation: the partner is the row before.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Figure, Method, Network, Range
from ltbench.method.functional import mixed, mixed_cross_entropy


class Mixup(Method):
    """Cross-entropy on weighted means of two images and of their labels."""

    alpha = Range(1.0, 0.1, 1.0)
    published = (
        Figure("cifar10", "10", 87.10, "MiSLAS (copy)", "F1", "B"),
        Figure("cifar10", "100", 73.06, "MiSLAS (copy)", "F1", "B"),
        Figure("cifar100", "100", 39.54, "MiSLAS (copy)", "F1", "B"),
        Figure("cifar100", "50", 44.99, "MiSLAS (copy)", "F1", "B"),
        Figure("cifar100", "10", 58.02, "MiSLAS (copy)", "F1", "B"),
    )

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share = batch.noise[0, 0]
        return mixed_cross_entropy(net(mixed(batch.images, share)), batch.labels, share)
