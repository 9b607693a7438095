"""Colour jitter: brightness, then contrast, then saturation are multiplied by random factors.

Each of the three is torchvision's ``adjust_*`` on uint8 images, for a batch at once. Published code draws their order
for every image. Here the order is fixed: a captured step would have to compute every order, at three times the cost.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)  # of red, green, blue


class Jitter:
    """Colour jitter. Rows of the plan: the factors of brightness, contrast and saturation, as the bits of float64.

    Args:
        strength: factors are uniform in [1 - strength, 1 + strength].
    """

    rows = 3

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        return random.uniform(1 - self.strength, 1 + self.strength, (self.rows, draws)).view(np.int64)

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        brightness, contrast, saturation = (row.view(torch.float64)[:, None, None, None] for row in rows)
        bright = _blend(pixels, torch.zeros_like(pixels), brightness)
        mean = _grey(bright).float().mean(dim=(1, 2, 3), keepdim=True)
        contrasted = _blend(bright, mean, contrast)
        return contrasted if pixels.shape[3] == 1 else _blend(contrasted, _grey(contrasted), saturation)


def _grey(pixels: Tensor) -> Tensor:
    """Grey levels [B, H, W, 1] uint8 of images [B, H, W, channels] uint8."""
    if pixels.shape[3] == 1:
        return pixels
    red, green, blue = torch.split(pixels, 1, dim=3)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue).to(torch.uint8)


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * pixels + (1 - factor) * other, clipped to [0, 255] and truncated to integers, as uint8."""
    blended = factor.float() * pixels + (1 - factor).float() * other
    return blended.clamp_(0, 255).to(torch.uint8)
