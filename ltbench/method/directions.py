"""Points of length 1 that are von Mises-Fisher distributed in each class: pure functions, and the means of classes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 1e5  # concentration of a class whose points are all the same


def log_bessel(order: float, x: Tensor) -> Tensor:
    """Compute log I_v(x) for v = ``order`` >> 1 and x >= 0, with a relative error of I_v(x) below 1e-6 for v = 63.

    Uniform expansion, Abramowitz and Stegun 9.7.7, with three terms.
    """
    root = torch.sqrt(1 + (x / order) ** 2)
    t = 1 / root
    eta = root + torch.log(x / order) - torch.log1p(root)
    terms = (
        (3 * t - 5 * t**3) / 24,
        (81 * t**2 - 462 * t**4 + 385 * t**6) / 1152,
        (30375 * t**3 - 369603 * t**5 + 765765 * t**7 - 425425 * t**9) / 414720,
    )
    series = torch.stack([term / order ** (k + 1) for k, term in enumerate(terms)]).sum(0)
    return order * eta - 0.5 * torch.log(2 * math.pi * order * root) + torch.log1p(series)


class Means(nn.Module):
    """The mean point of each class: those of the last epoch with this one so far, and those of this epoch alone.

    Attributes:
        points, counts: [2, C, D] and [2, C], of the two means.
        start: [C, D], the mean of a class before its first point.
    """

    points: Tensor
    counts: Tensor
    start: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("start", 0.9 * F.normalize(torch.randn(classes, width)))
        self.register_buffer("points", self.start.repeat(2, 1, 1))
        self.register_buffer("counts", torch.zeros(2, classes))

    @torch.no_grad()
    def add(self, points: Tensor, labels: Tensor) -> None:
        """Count points [B, D] of these labels [B]."""
        own = (labels == torch.arange(self.start.shape[0], device=labels.device)[:, None]).to(points.dtype)
        number = own.sum(1)
        share = (number / (self.counts + number).clamp_min(1))[:, :, None]
        mean = own @ points / number.clamp_min(1)[:, None]
        self.points.copy_((1 - share) * self.points + share * mean)
        self.counts.add_(number)

    @torch.no_grad()
    def next_epoch(self) -> None:
        """Make the means of this epoch those of the last one."""
        self.points.copy_(torch.stack([self.points[1], self.start]))
        self.counts.copy_(torch.stack([self.counts[1], torch.zeros_like(self.counts[1])]))


def contrast_logits(points: Tensor, means: Tensor, temperature: float) -> Tensor:
    """Compute log C(kappa_j) - log C(|kappa_j m_j + z / T|). points: [B, D] of length 1, means: [C, D] -> [B, C]."""
    width = points.shape[1]
    order = width / 2 - 1
    points, means = points.double(), means.double()
    length = means.norm(dim=1)
    kappa = (width * length / (1 - length**2).clamp_min(1e-12)).clamp_max(LARGEST)
    together = kappa[:, None] * F.normalize(means) + points[:, None] / temperature
    moved = together.norm(dim=2)

    def log_inverse(x: Tensor) -> Tensor:
        return log_bessel(order, x) - order * torch.log(x)

    return (log_inverse(moved) - log_inverse(kappa)).float()
