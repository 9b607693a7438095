"""The horizontal flip, which both kinds of crops share."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_mirrored(draws: int, flip: bool, random: np.random.Generator) -> NDArray[np.int64]:
    """For each image whether it is mirrored [draws]: 1 with probability 1/2; without ``flip`` always 0."""
    return random.integers(2, size=draws) if flip else np.zeros(draws, np.int64)


def mirror(pixels: Tensor, mirrored: Tensor) -> Tensor:
    """Images [B, H, W, channels], those with ``mirrored`` [B] = 1 with left and right exchanged."""
    return torch.where(mirrored.bool()[:, None, None, None], pixels.flip(2), pixels)
