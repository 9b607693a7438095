"""The usual crop of small images: black pixels on every side, a random window of the old size, a random mirror."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.mirror import draw_mirrored, mirror


class PaddedCrop:
    """The mirror, then a window of the padded image. Rows of the plan: mirrored, top, left.

    Args:
        padding: black pixels on each side; 0: no crop.
        flip: whether images are mirrored.
    """

    rows = 3

    def __init__(self, padding: int, flip: bool) -> None:
        self.padding, self.flip = padding, flip

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        mirrored = draw_mirrored(draws, self.flip, random)
        corners = np.zeros((2, draws), np.int64)
        if self.padding:
            corners = random.integers(2 * self.padding + 1, size=(2, draws))
        return np.stack([mirrored, *corners])

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        mirrored, top, left = rows.unbind()
        images = torch.arange(len(pixels), device=pixels.device)
        return self._windows(mirror(pixels, mirrored))[images, top, left]

    def resident(self, pixels: Tensor) -> Tensor:
        """Every crop of all images, so that one index takes a batch: ``[mirrored, image, top, left]``.

        This is much faster than ``apply``, where the padded images and a mirrored copy of each fit on the device.

        Args:
            pixels: [N, H, W, channels] uint8, on the device.

        Returns:
            A view [copies, N, tops, lefts, H, W, channels] of memory that is ``growth`` times as large as the images.
        """
        copies = torch.stack([pixels, pixels.flip(2)]) if self.flip else pixels[None]
        return self._windows(copies)

    def growth(self, height: int, width: int) -> float:
        """Memory that ``resident`` needs, relative to the images of this size."""
        pad = 2 * self.padding
        return (1 + self.flip) * (height + pad) * (width + pad) / (height * width)

    def _windows(self, pixels: Tensor) -> Tensor:
        """[..., H, W, channels] -> a view [..., tops, lefts, H, W, channels] of the padded images."""
        (height, width), pad = pixels.shape[-3:-1], self.padding
        padded = F.pad(pixels, (0, 0, pad, pad, pad, pad))
        return padded.unfold(-3, height, 1).unfold(-3, width, 1).movedim(-3, -1)
