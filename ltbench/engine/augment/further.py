"""Operations of CUDA (Ahn et al., ICLR 2023) that AutoAugment does not have. Each is that of PIL, or made of PIL's.

They are functions of images [B, H, W, channels] uint8, operations [B] and arguments [B]; other images stay as they are.
"""

import torch
from torch import Tensor

from ltbench.engine.augment.kinds import NUMBER, argument_of

FILTERS = {"EdgeEnhance": (10, -1, -1, 2), "Detail": (10, -1, 0, 6), "Smooth": (5, 1, 1, 13)}
"""Weights of a pixel, of the four beside it and of the four at its corners, and what their sum is divided by."""
LANCZOS = 3
"""Pixels on each side that a resized pixel is computed from."""


def turned(pixels: Tensor, operation: Tensor, _: Tensor) -> Tensor:
    """Images upside down after "Flip", and mirrored after "Mirror"."""
    for name, axis in (("Flip", 1), ("Mirror", 2)):
        pixels = torch.where((operation == NUMBER[name])[:, None, None, None], pixels.flip(axis), pixels)
    return pixels


def filtered(pixels: Tensor, operation: Tensor, _: Tensor) -> Tensor:
    """Images after a filter of 3x3 pixels. Pixels at the border stay."""
    weights = []
    for neutral, *of_filters in zip((1, 0, 0, 1), *FILTERS.values(), strict=True):
        weight = torch.full_like(operation, neutral, dtype=torch.float32)
        for name, own in zip(FILTERS, of_filters, strict=True):
            weight = torch.where(operation == NUMBER[name], float(own), weight)
        weights.append(weight[:, None, None, None])
    middle, cross, corner, total = weights
    rows = pixels.float()
    columns = rows[:, :-2] + rows[:, 2:]  # above and below
    own, beside = rows[:, 1:-1, 1:-1], rows[:, 1:-1, :-2] + rows[:, 1:-1, 2:]
    near, far = columns[:, :, 1:-1] + beside, columns[:, :, :-2] + columns[:, :, 2:]
    changed = pixels.clone()
    changed[:, 1:-1, 1:-1] = _rounded((middle * own + cross * near + corner * far) / total)
    return changed


def blurred(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images after "GaussianBlur" of a standard deviation below 1.41 pixels.

    As in PIL, it is three means over a window along the rows, then three along the columns, each rounded. The window is
    a pixel and a share of its two neighbours (Gwosdek et al., SSVM 2011, equations 7, 11 and 14). Outside of the image
    are the pixels of its border.
    """
    variance = argument_of("GaussianBlur", operation, value, 0.0).square() / 3
    share = (variance / (2 * (1 - variance)))[:, None, None, None]
    found = pixels.double()
    for axis in (2, 1):
        for _ in range(3):
            length = found.shape[axis]
            before = torch.cat([found.narrow(axis, 0, 1), found.narrow(axis, 0, length - 1)], axis)
            after = torch.cat([found.narrow(axis, 1, length - 1), found.narrow(axis, length - 1, 1)], axis)
            found = ((found + share * (before + after)) / (1 + 2 * share) + 0.5).floor()
    return found.to(torch.uint8)


def enlarged(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """The middle of images that "ResizeCrop" has enlarged by a factor from 1 on, with the filter of Lanczos."""
    factor = argument_of("ResizeCrop", operation, value, 1.0)
    down, across = (_enlarging(length, factor) for length in pixels.shape[1:3])
    wider = _rounded(torch.einsum("bvw,bhwc->bhvc", across, pixels.double()))
    return _rounded(torch.einsum("bgh,bhwc->bgwc", down, wider.double()))


def solarized_sum(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images after "SolarizeAdd": a number is added to each level, then levels from 128 on are inverted."""
    added = argument_of("SolarizeAdd", operation, value, 0.0)[:, None, None, None]
    lighter = (pixels.float() + added.float()).clamp_(0, 255).to(torch.uint8)
    chosen = (operation == NUMBER["SolarizeAdd"])[:, None, None, None]
    return torch.where(chosen & (lighter >= 128), 255 - lighter, lighter)


def _enlarging(length: int, factor: Tensor) -> Tensor:
    """Weights [B, length, length] of the old pixels (last) in the new ones, for factors [B]."""
    place = torch.arange(length, device=factor.device, dtype=torch.float64)
    larger = (length * factor).floor()[:, None]
    first = (larger / 2).floor() - length // 2
    centre = (place + first + 0.5) * (length / larger)  # of the new pixels, in old ones
    distance = place + 0.5 - centre[:, :, None]
    weights = torch.sinc(distance) * torch.sinc(distance / LANCZOS) * (distance.abs() < LANCZOS)
    return weights / weights.sum(2, keepdim=True)


def _rounded(values: Tensor) -> Tensor:
    """Values as uint8, rounded and clipped."""
    return (values + 0.5).floor_().clamp_(0, 255).to(torch.uint8)
