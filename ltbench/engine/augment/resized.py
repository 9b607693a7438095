"""Random resized crops, with one implementation for each kind of device; evaluation takes the centre.

On a CPU, images are cropped and resized one by one, as torchvision does it. On a GPU, a batch is resized at once, by
two products with matrices of the same antialiasing weights. The shapes of these matrices do not depend on the crops, so
such a step can be captured. The results differ by rounding only: PyTorch's weights on a CPU are integers, so a few
percent of the values differ by one grey level, and rarely by two (on noise, the worst case).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.mirror import draw_mirrored, mirror

SCALE = (0.08, 1.0)  # area of a crop, relative to the image
RATIO = (3 / 4, 4 / 3)  # width / height
TRIES = 10


class ResizedCrop:
    """A random resized crop, then the mirror. Rows of the plan: mirrored, top, left, height, width.

    Args:
        side: side of the result in pixels.
        height, width: size of the images in pixels.
        flip: whether crops are mirrored.
    """

    rows = 5

    def __init__(self, side: int, height: int, width: int, flip: bool) -> None:
        self.side, self.height, self.width, self.flip = side, height, width, flip

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        mirrored = draw_mirrored(draws, self.flip, random)
        return np.stack([mirrored, *draw_crops(draws, self.height, self.width, random)])

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        take = one_by_one if pixels.device.type == "cpu" else at_once
        return mirror(take(pixels, rows[1:], self.side), rows[0])


def draw_crops(draws: int, height: int, width: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Top, left, height and width [4, draws] of crops, with torchvision's distribution.

    The area is uniform, the aspect ratio log-uniform. If none of ten tries fits into the image, the crop is the largest
    centred part of the image with an allowed aspect ratio.
    """
    area = height * width * random.uniform(*SCALE, (TRIES, draws))
    root = np.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1]), (TRIES, draws)) / 2)
    sizes = np.rint([np.sqrt(area) / root, np.sqrt(area) * root]).astype(np.int64)
    corner = random.random((2, draws))
    fits = ((sizes > 0) & (sizes <= np.array([height, width])[:, None, None])).all(axis=0)
    first = np.take_along_axis(sizes, fits.argmax(axis=0)[None, None], axis=1)[:, 0]
    limits = np.array([[height], [width]])
    offset = (corner * (limits - first + 1)).astype(np.int64)
    whole = np.array([[min(height, round(width / RATIO[0]))], [min(width, round(height * RATIO[1]))]])
    found = fits.any(axis=0)
    return np.concatenate([np.where(found, offset, (limits - whole) // 2), np.where(found, first, whole)])


def one_by_one(pixels: Tensor, crops: Tensor, side: int) -> Tensor:
    """Take the crops, image by image.

    Args:
        pixels: [B, H, W, channels] uint8 on the CPU.
        crops: top, left, height, width [4, B] int64.
        side: S, of the results.

    Returns:
        [B, S, S, channels] uint8.
    """
    out = torch.empty((len(pixels), side, side, pixels.shape[3]), dtype=torch.uint8)
    for image, (top, left, height, width), place in zip(pixels, crops.T.tolist(), out, strict=True):
        part = image[top : top + height, left : left + width].permute(2, 0, 1)
        resized = F.interpolate(part[None], size=(side, side), mode="bilinear", antialias=True)
        place.copy_(resized[0].permute(1, 2, 0))
    return out


def at_once(pixels: Tensor, crops: Tensor, side: int) -> Tensor:
    """Take the crops of a batch at once, on any device; arguments and result are those of ``one_by_one``.

    The width is resized first and the result rounded to grey levels, then the height, as PIL and PyTorch do.
    """
    top, left, height, width = crops.unbind()
    rows = weights(top, height, pixels.shape[1], side)
    columns = weights(left, width, pixels.shape[2], side)
    narrow = torch.einsum("btw,bhwc->bhtc", columns, pixels.float()).round_()
    return torch.einsum("bsh,bhtc->bstc", rows, narrow).round_().to(torch.uint8).contiguous()


def weights(start: Tensor, length: Tensor, size: int, side: int) -> Tensor:
    """Antialiased bilinear weights [B, S, size] along one axis, for crops from ``start`` [B] of ``length`` [B] pixels.

    The weights are a triangle around the centre of each new pixel, normalised within the crop. Where the crop shrinks,
    the triangle is as wide as the scale.
    """
    scale = (length.double() / side)[:, None, None]
    new = torch.arange(side, device=start.device).double()[None, :, None]
    old = torch.arange(size, device=start.device)[None, None, :] - start[:, None, None]
    distance = (old + 0.5 - (new + 0.5) * scale).abs() / scale.clamp(min=1)
    inside = (old >= 0) & (old < length[:, None, None])
    triangle = torch.where(inside, (1 - distance).clamp(min=0), 0.0)
    return (triangle / triangle.sum(dim=2, keepdim=True)).float()


def centre(pixels: Tensor, side: int) -> Tensor:
    """The central square [B, S, S, channels] of images [B, H, W, channels]; a view."""
    top, left = (round((length - side) / 2) for length in pixels.shape[1:3])
    return pixels[:, top : top + side, left : left + side]
