"""Remix: mixup whose labels favour the rarer class.

Chou, Chang, Pan, Wei, Juan: Remix: Rebalanced Mixup, ECCV 2020 Workshops, arXiv 2007.03943, equation 8. Images are
mixed as in mixup with share l. The label's share is 0 if n_i / n_j >= kappa and l < tau, 1 if n_i / n_j <= 1 / kappa
and 1 - l < tau, else l.
Deviation: the partner is the previous image of the shuffled batch; one l per batch. Published accuracies are for 300 or
400 epochs, so none is given here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range
from ltbench.method.functional import mixed, mixed_cross_entropy


def label_share(share: Tensor, own: Tensor, partner: Tensor, kappa: float, tau: float) -> Tensor:
    """Share of the label [B], from the share of the image (0-dim) and the class sizes [B] of image and partner."""
    ratio = own / partner
    rarer = torch.where((ratio <= 1 / kappa) & (1 - share < tau), 1.0, share)
    return torch.where((ratio >= kappa) & (share < tau), 0.0, rarer)


class Remix(Method):
    """Mixup that gives the label of the rarer class to mixtures in which its share is large enough."""

    alpha = Range(1.0, 0.1, 1.0)
    kappa = Range(3.0, 2.0, 10.0)
    tau = Range(0.5, 0.2, 0.7)

    def setup(self, counts: Tensor) -> None:
        self.counts = counts.float()

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share, sizes = batch.noise[0, 0], self.counts[batch.labels]
        shares = label_share(share, sizes, sizes.roll(1, 0), self.kappa, self.tau)
        return mixed_cross_entropy(net(mixed(batch.images, share)), batch.labels, shares)
