"""Formulas that several methods share, as pure functions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.errors import InputError


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Compute class weights (1 - beta) / (1 - beta ** n_j), scaled to sum to C.

    Cui et al., CVPR 2019 (arXiv 1901.05555), equation 2, scaled as in the code of Cao et al. It uses expm1 and log1p
    because 1 - beta ** n_j loses its digits when beta is close to 1; there the weights approach 1 / n_j.

    Args:
        counts: [C], float64, all at least 1.
        beta: in [0, 1).

    Returns:
        [C], with the dtype of ``counts``.
    """
    log_beta = torch.log1p(counts.new_tensor(beta - 1.0))
    weights = torch.reciprocal(-torch.expm1(counts * log_beta))
    return weights * len(counts) / weights.sum()


def log_prior(counts: Tensor) -> Tensor:
    """Compute log(n_j / N). counts: [C] -> [C], same dtype."""
    return torch.log(counts / counts.sum())


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None = None) -> Tensor:
    """Compute the mean of -w_y (1 - p_y) ** gamma log p_y, with p = softmax(z), and w = 1 without ``weights``.

    Lin et al., ICCV 2017 (arXiv 1708.02002), equation 5, with a softmax. The weights do not enter the factor
    (1 - p_y) ** gamma, and the mean divides by the number of examples.

    Args:
        logits: [B, C].
        labels: [B].
        gamma: at least 0.
        weights: [C].
    """
    log_p = -F.cross_entropy(logits, labels, reduction="none")
    loss = -((-log_p.expm1()).clamp_min(1e-12) ** gamma * log_p)
    return loss.mean() if weights is None else (weights[labels] * loss).mean()


def ldam_margins(counts: Tensor, max_margin: float) -> Tensor:
    """Compute margins [C] proportional to n_j ** -1/4, with ``max_margin`` as the largest. counts: [C].

    Cao et al., NeurIPS 2019 (arXiv 1906.07413), equation 13.
    """
    rarity = counts**-0.25
    return max_margin * rarity / rarity.max()


def by_reversed_size(values: Tensor, counts: Tensor) -> Tensor:
    """Give each class the value of the class of the reversed rank by size: the rarest that of the most frequent one.

    values, counts: [C] -> [C].
    """
    order = counts.argsort(stable=True)
    found = torch.empty_like(values)
    found[order] = values[order].flip(0)
    return found


def subtract_margin(cosines: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
    """Subtract the margin [C] of each label from the cosines [B, C], in the label's column only."""
    own = labels[:, None] == torch.arange(cosines.shape[1], device=labels.device)
    return torch.where(own, cosines - margins[labels, None].to(cosines.dtype), cosines)  # scatter_add: twenty kernels


def label_aware_smoothing(counts: Tensor, head: float, tail: float) -> Tensor:
    """Compute the label smoothing of each class, from ``tail`` for the rarest to ``head`` for the most frequent class.

    Zhong et al., CVPR 2021 (arXiv 2104.00466), equation 7, the concave form: tail + (head - tail) * sin(pi / 2 * t),
    t = (n_y - n_min) / (n_max - n_min). If all classes have the same size, t is 1. counts: [C] -> [C].
    """
    spread = counts.max() - counts.min()
    t = (counts - counts.min()) / spread if spread > 0 else torch.ones_like(counts)
    return tail + (head - tail) * torch.sin(math.pi / 2 * t)


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Compute the mean cross-entropy with targets 1 - e + e / C for the label and e / C elsewhere, e = smoothing[y].

    As in the code of Zhong et al., CVPR 2021 (arXiv 2104.00466); their equation 6 has e / (C - 1) elsewhere.

    Args:
        logits: [B, C].
        labels: [B].
        smoothing: [C], each in [0, 1).
    """
    log_p = F.log_softmax(logits, dim=1)
    own = -F.nll_loss(log_p, labels, reduction="none")  # the backward pass of gather takes twenty kernels
    e = smoothing[labels].to(log_p.dtype)
    return -((1 - e) * own + e * log_p.mean(dim=1)).mean()


def mixed(values: Tensor, share: Tensor) -> Tensor:
    """Mix each row with the previous row: share * row + (1 - share) * previous. values: [B, ...], share: 0-dim.

    A batch is shuffled, so the previous row is a random partner.
    """
    return share * values + (1 - share) * values.roll(1, 0)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, share: Tensor) -> Tensor:
    """Mix the losses of the own label and of the previous row's label: share * own + (1 - share) * previous.

    Zhang et al., ICLR 2018 (arXiv 1710.09412). logits: [B, C], labels: [B], share: 0-dim or [B].
    """
    own = F.cross_entropy(logits, labels, reduction="none")
    partner = F.cross_entropy(logits, labels.roll(1, 0), reduction="none")
    return (share * own + (1 - share) * partner).mean()


def quarter_turned(images: Tensor) -> Tensor:
    """Rotate image i by (i mod 4) * 90 degrees. images: [B, channels, H, H] -> the same shape.

    Raises:
        InputError: if the images are not square.
    """
    if images.shape[2] != images.shape[3]:
        raise InputError(
            f"images of {images.shape[2]}x{images.shape[3]} pixels cannot be rotated by 90 degrees; make them square "
            "with --set recipe.image_size=PIXELS"
        )
    copies = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    place = torch.arange(len(images), device=images.device)
    return copies[place % 4, place]


def spread(noise: Tensor, classes: int) -> Tensor:
    """Make a uniform number in (0, 1) for each image and class from one number for each image.

    Storing a number for each image and class in the plan of an epoch would take gigabytes. The integers of this hash
    are the same on every device.

    Args:
        noise: [B], in [0, 1], of which 24 bits are used.
        classes: C.

    Returns:
        [B, C] float32.
    """
    mixed = (noise * 2**24).long()[:, None] * 1_000_003 + torch.arange(classes, device=noise.device) + 1
    for factor in (0x2545F4914F6CDD1D, 0x369DEA0F31A53F85):
        mixed = (mixed ^ ((mixed >> 32) & 0xFFFFFFFF)) * factor
    return (((mixed >> 41) & 0x7FFFFF).float() + 0.5) / 2**23


def mutual_divergence(logits: Tensor) -> Tensor:
    """Sum over pairs j != k of experts of the mean KL(p_j || p_k) over the batch. logits: [K, B, C] -> 0-dim."""
    log_p = F.log_softmax(logits, dim=2)
    return (log_p[:, None].exp() * (log_p[:, None] - log_p)).sum(3).mean(2).sum()
