"""Cutout (DeVries and Taylor, 2017, arXiv:1708.04552): a black square at a random place.

The square is black before the images are normalised, as in PaCo's code for CIFAR. In the paper it has the mean colour.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FAR_AWAY = -(1 << 30)
"""A row or column so far outside that the square touches no image."""


class Cutout:
    """A square around a random pixel, cut off at the image's border. Rows of the plan: row and column of the pixel.

    Args:
        side: of the square in pixels.
        height, width: size of the images in pixels.
    """

    rows = 2
    name, idle = "cutout", FAR_AWAY

    def __init__(self, side: int, height: int, width: int) -> None:
        self.side, self.height, self.width = side, height, width

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        return np.stack([random.integers(self.height, size=draws), random.integers(self.width, size=draws)])

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        _, height, width, channels = pixels.shape
        top, left = rows - self.side // 2
        y = torch.arange(height, device=pixels.device) - top[:, None]
        x = torch.arange(width * channels, device=pixels.device) // channels - left[:, None]
        rows_kept, columns_kept = (((place < 0) | (place >= self.side)).byte() for place in (y, x))
        kept = rows_kept[:, :, None] | columns_kept[:, None, :]  # 0 or 1: products of bytes are faster than masks
        return pixels.reshape(kept.shape).mul(kept).view(pixels.shape)
