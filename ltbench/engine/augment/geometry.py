"""Shears, translations and rotations: each new pixel is the nearest old one, or has one level outside the image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.engine.augment.kinds import argument_of

NAMES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
FILL = 128
"""Grey level outside the image, as in the policy code that long-tail papers use."""
ONE = 1 << 16
"""PIL computes positions in units of 1/65536 pixel; so does this file, since a rounded position decides on a pixel."""


def moved(pixels: Tensor, operation: Tensor, value: Tensor, fill: int = FILL) -> Tensor:
    """Images [B, H, W, channels] uint8 after their shear, translation or rotation; others as they are.

    New pixel (x, y) shows old pixel (cos x + (shear_x - sin) y, (sin + shear_y) x + cos y), plus an offset that
    contains the translation. Rotations are around the centre of the image, shears around its upper left corner.
    ``fill`` is the level outside of the image.
    """
    _, height, width, channels = pixels.shape
    shear_x, shear_y, right, down, angle = (argument_of(name, operation, value, 0.0) for name in NAMES)
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    x = torch.arange(width, device=pixels.device, dtype=torch.int32)[None, None, :]
    y = torch.arange(height, device=pixels.device, dtype=torch.int32)[None, :, None]
    start_x = width / 2 - cos * (width / 2) + sin * (height / 2) - right
    start_y = height / 2 - sin * (width / 2) - cos * (height / 2) - down
    old_x = _positions(x, y, cos, shear_x - sin, start_x)
    old_y = _positions(x, y, sin + shear_y, cos, start_y)
    framed = F.pad(pixels, (0, 0, 1, 1, 1, 1), value=fill)  # positions outside are clamped to this frame
    image = torch.arange(len(pixels), device=pixels.device, dtype=torch.int32)[:, None, None]
    row = old_y.clamp_(-1, height).add_(image * (height + 2) + 1)
    index = row.mul_(width + 2).add_(old_x.clamp_(-1, width)).add_(1)
    return framed.view(-1, channels).index_select(0, index.flatten()).view(pixels.shape)


def _positions(x: Tensor, y: Tensor, per_x: Tensor, per_y: Tensor, start: Tensor) -> Tensor:
    """floor(start + per_x (x + 1/2) + per_y (y + 1/2)) [B, H, W] for coefficients [B]."""
    start = start + per_x * 0.5 + per_y * 0.5
    a, b, c = ((number * ONE + 0.5).floor().int()[:, None, None] for number in (per_x, per_y, start))
    return (a * x + (b * y + c)) >> 16
