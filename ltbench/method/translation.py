"""Images that a network takes for another class, found by steps along a gradient (M2m, CVPR 2020, arXiv 2004.00431)."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.method.functional import spread

ITERATIONS, STEP, START = 10, 0.1, 0.5
Classifier = Callable[[Tensor], Tensor]


def sources(sizes: Tensor, beta: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the image that each image is translated from, and the probability with which the result is used.

    Args:
        sizes: [B], the size of the class of each image.
        beta: see above.
        noise: [B], in [0, 1).

    Returns:
        Indices in the batch [B], and probabilities [B], 0 where no class in the batch is larger.
    """
    likely = -torch.expm1((sizes[None] - sizes[:, None]).clamp_min(0) * math.log(beta))  # [image, source]
    until = likely.cumsum(1)
    chosen = (until <= noise[:, None] * until[:, -1:]).sum(1).clamp_max(len(sizes) - 1)
    return chosen, likely.gather(1, chosen[:, None])[:, 0]


def small_noise(noise: Tensor, chosen: Tensor, shape: Sequence[int]) -> Tensor:
    """Noise [B, channels, H, W] on the chosen images; all that of a channel has at most the length 0.5.

    noise: [B], in [0, 1), chosen: [B] bool.
    """
    found = (spread(noise, math.prod(shape[1:])).view(*shape) - 0.5) * chosen[:, None, None, None]
    return found * (START / found.square().sum((0, 2, 3), keepdim=True).sqrt().clamp_min(START))


def translated(
    pixels: Tensor, labels: Tensor, source: Tensor, helper: Classifier, net: Classifier, weight: float
) -> Tensor:
    """Take ten steps that make images the labels for the helper and less their source for the network.

    Args:
        pixels: [B, channels, H, W], from 0 to 1.
        labels, source: [B], the wanted classes and those of the images.
        helper, net: pixels -> logits [B, C].
        weight: of the logit of the source.
    """
    for _ in range(ITERATIONS):
        pixels = pixels.detach().requires_grad_()
        wrong = F.cross_entropy(helper(pixels).float(), labels, reduction="sum")
        still = -F.nll_loss(net(pixels).float(), source, reduction="sum")
        (gradient,) = torch.autograd.grad(wrong + weight * still, pixels)
        length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
        pixels = (pixels - STEP * gradient / (length + 1e-10)).clamp(0, 1)
    return pixels.detach()
