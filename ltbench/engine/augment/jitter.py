"""Colour jitter: brightness, then contrast, then saturation, by factors that the plan holds.

Each step is torchvision's ``adjust_*`` on uint8 images, of a whole batch at once. Published code draws the order of
the three for every image; here it is fixed, since all orders side by side in a captured step are three times the work.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FACTORS = 3
GREY = (0.2989, 0.587, 0.114)  # of red, green, blue


def draw(draws: int, strength: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Factors [3, draws], uniform within 1 ± strength: the bits of float64, since a plan holds whole numbers."""
    return random.uniform(1 - strength, 1 + strength, (FACTORS, draws)).view(np.int64)


def jitter(pixels: Tensor, factors: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 with other colours, by factors [3, B] as ``draw`` gives them."""
    brightness, contrast, saturation = (row.view(torch.float64)[:, None, None, None] for row in factors)
    bright = _blend(pixels, torch.zeros_like(pixels), brightness)
    mean = _grey(bright).float().mean(dim=(1, 2, 3), keepdim=True)
    contrasted = _blend(bright, mean, contrast)
    return contrasted if pixels.shape[3] == 1 else _blend(contrasted, _grey(contrasted), saturation)


def _grey(pixels: Tensor) -> Tensor:
    """[B, H, W, 1] uint8."""
    if pixels.shape[3] == 1:
        return pixels
    red, green, blue = torch.split(pixels, 1, dim=3)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue).to(torch.uint8)


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * pixels + (1 - factor) * other, cut off to whole grey levels."""
    blended = factor.float() * pixels + (1 - factor).float() * other
    return blended.clamp_(0, 255).to(torch.uint8)
