"""The operations of AutoAugment and RandAugment on batches. Each is that of PIL, which published code uses.

On a CPU, each kind of operation is computed for its own images only. On a GPU, each kind is computed for all images,
and does not change those of another kind: no shape depends on a value, so such a step can be captured. Both give the
same pixels.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment import geometry, tones
from ltbench.engine.augment.kinds import FACTORS, NUMBER

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
Kinds = tuple[tuple[Function, tuple[str, ...]], ...]
KINDS: Kinds = (
    (geometry.moved, geometry.NAMES),
    (tones.mapped, tones.MAPPED),
    (tones.stretched, ("AutoContrast",)),
    (tones.equalized, ("Equalize",)),
    (tones.saturated, ("Color",)),
    (tones.sharpened, ("Sharpness",)),
)
"""Functions of images [B, H, W, channels], operations [B] and arguments [B], with the operations that each performs."""


def arguments(levels: int, height: int, width: int) -> NDArray[np.float64]:
    """Arguments of the operations at evenly spaced strengths, as torchvision spaces them.

    Args:
        levels: number of strengths, from none to the full one.
        height, width: size of the images in pixels.

    Returns:
        [2, operations, levels]: for both directions. Slopes of the shears, pixels of the translations, degrees of the
        rotation, factors of brightness, colour, contrast and sharpness, bits of posterize, threshold of solarize.
    """
    strength = np.linspace(0, 1, levels)
    largest = {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30.0} | dict.fromkeys(FACTORS, 0.9)
    both_ways = {name: most * strength for name, most in largest.items()}
    both_ways |= {
        "TranslateX": np.trunc(150 / 331 * width * strength),
        "TranslateY": np.trunc(150 / 331 * height * strength),
    }
    found = np.zeros((2, len(NUMBER), levels))
    for name, values in both_ways.items():
        found[:, NUMBER[name]] = (name in FACTORS) + np.stack([-values, values])
    found[:, NUMBER["Posterize"]] = 8 - np.rint(4 * strength)
    found[:, NUMBER["Solarize"]] = 255 * (1 - strength)
    return found


def as_rows(operations: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of a plan [2 K, draws] for K operations [K, draws] with these arguments [K, draws]."""
    return np.stack([operations, values.view(np.int64)], axis=1).reshape(-1, operations.shape[1])


def operate(pixels: Tensor, rows: Tensor, kinds: Kinds = KINDS) -> Tensor:
    """Images [B, H, W, channels] uint8 after the K operations of their rows [2 K, B], one after another.

    Args:
        kinds: functions that perform all operations that may occur.
    """
    step = _by_kind if pixels.device.type == "cpu" else _at_once
    for operation, value in rows.unflatten(0, (-1, 2)):
        pixels = step(pixels, operation, value.view(torch.float64), kinds)
    return pixels


@functools.cache
def _kind_of(kinds: Kinds) -> Tensor:
    """The index in ``kinds`` of each operation; their number for "Identity", and for others that do not occur."""
    return torch.tensor([next((i for i, (_, own) in enumerate(kinds) if name in own), len(kinds)) for name in NUMBER])


def _by_kind(pixels: Tensor, operation: Tensor, value: Tensor, kinds: Kinds) -> Tensor:
    """One operation of each image, kind by kind."""
    parts, place = [pixels], torch.arange(len(pixels))
    kind_of, done = _kind_of(kinds)[operation], len(pixels)
    for kind, (function, _) in enumerate(kinds):
        which = (kind_of == kind).nonzero().flatten()
        if len(which):
            parts.append(function(pixels.index_select(0, which), operation[which], value[which]))
            place[which] = torch.arange(done, done + len(which))
            done += len(which)
    return torch.cat(parts).index_select(0, place)  # faster than to copy each part into place


def _at_once(pixels: Tensor, operation: Tensor, value: Tensor, kinds: Kinds) -> Tensor:
    """The same without shapes that depend on values."""
    for function, _ in kinds:
        pixels = function(pixels, operation, value)
    return pixels
