"""ETF: a fixed classifier whose class directions are as far apart as possible.

Yang, Chen, Li, Xie, Lin, Tao: Inducing Neural Collapse in Imbalanced Learning: Do We Really Need a Learnable Classifier
at the End of Deep Neural Network?, NeurIPS 2022, arXiv 2203.09081: the directions m_j are a random simplex equiangular
tight frame, sqrt(C / (C - 1)) U (I - 1 1^T / C) with orthonormal columns U, and are not trained. The loss is the dot
regression (m_y . h - 1) ** 2 / 2 of features h of length 1 (equation 7); the largest m_j . h predicts. As in the
authors' code, features pass batch norm before they are normalised, and images are mixed as in `mixup`.
Deviation: if there are more classes than features, a linear layer first makes C of them (code: a network with twice as
many channels for CIFAR-100). The partner is the previous image of the shuffled batch.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Range
from ltbench.method.functional import mixed


def simplex(width: int, classes: int) -> Tensor:
    """Build C random directions of length 1 with cosines -1 / (C - 1) among them: [D, C] for D >= C."""
    orthonormal: Tensor = torch.linalg.qr(torch.rand(width, classes, dtype=torch.float64)).Q
    centred = orthonormal - orthonormal.mean(1, keepdim=True)
    return (math.sqrt(classes / (classes - 1)) * centred).float()


def dot_regression(cosines: Tensor, labels: Tensor, share: Tensor) -> Tensor:
    """Mean of (cos_y - 1) ** 2 / 2, mixed with that of the previous row's label. cosines: [B, C], share: 0-dim."""
    places = torch.arange(cosines.shape[1], device=labels.device)  # a mask: the backward pass of gather is slow
    own, partner = (torch.where(y[:, None] == places, cosines, 0.0).sum(1) for y in (labels, labels.roll(1, 0)))
    return (share * (own - 1).square() + (1 - share) * (partner - 1).square()).mean() / 2


class SimplexClassifier(nn.Module):
    """Features [B, D] -> cosines [B, C] with fixed directions."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        wide = max(width, classes)
        self.widen = nn.Linear(width, wide) if wide > width else nn.Identity()
        self.norm = nn.BatchNorm1d(wide)
        self.register_buffer("directions", simplex(wide, classes))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.norm(self.widen(features)).float()) @ self.get_buffer("directions")


class Etf(Method):
    """Features are drawn to fixed directions of the classes, on mixtures of two images."""

    alpha = Range(1.0, 0.1, 1.0)

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return SimplexClassifier(width, classes)

    def noise(self, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.beta(self.alpha, self.alpha, size=(1, draws))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        share = batch.noise[0, 0]
        return dot_regression(net(mixed(batch.images, share)), batch.labels, share)
