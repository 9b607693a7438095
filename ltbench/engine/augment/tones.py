"""Operations that change grey levels and colours, and the sharpness.

Most of them replace each grey level by another one, so a table of 256 levels is computed for each image, and each pixel
is looked up in it. Numbers are rounded where PIL rounds them.
"""

import torch
from torch import Tensor

from ltbench.engine.augment.kinds import NUMBER, argument_of

MAPPED = ("Brightness", "Contrast", "Posterize", "Solarize", "Invert")
LEVELS = 256
LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in a grey level, in units of 1/65536 (ITU-R 601-2)."""


def mapped(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after their operation of ``MAPPED``; others as they are."""
    level = torch.arange(LEVELS, device=pixels.device)
    bits = argument_of("Posterize", operation, value, 8.0)
    kept = -(1 << (8 - bits).long())[:, None]  # a mask: ones above the bits that are removed
    threshold = argument_of("Solarize", operation, value, LEVELS)
    threshold = torch.where(operation == NUMBER["Invert"], 0.0, threshold)[:, None]
    contrast = argument_of("Contrast", operation, value, 1.0)
    factor = torch.where(operation == NUMBER["Brightness"], value, contrast)
    middle = torch.where(operation == NUMBER["Contrast"], _mean(pixels), 0)
    tables = torch.where(level >= threshold, LEVELS - 1 - level, level & kept)
    tables = _blend(middle[:, None], tables, factor[:, None])
    return tables.gather(1, pixels.flatten(1).long()).view(pixels.shape)


def stretched(pixels: Tensor, operation: Tensor, _: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after "AutoContrast"; others as they are.

    The darkest level of each channel becomes 0 and the lightest 255, where they differ.
    """
    level = torch.arange(LEVELS, device=pixels.device, dtype=torch.float64)
    rows = pixels.flatten(2)  # two reductions of rows are much faster than one of pixels
    darkest = rows.amin(1).view(pixels[:, 0].shape).amin(1).double()[:, :, None]
    lightest = rows.amax(1).view(pixels[:, 0].shape).amax(1).double()[:, :, None]
    scale = torch.full_like(darkest, LEVELS - 1) / (lightest - darkest).clamp(min=1)  # 255 / x would be 255 * (1 / x)
    tables = (level * scale - darkest * scale).clamp_(0, LEVELS - 1)
    changes = (lightest > darkest) & (operation == NUMBER["AutoContrast"])[:, None, None]
    tables = torch.where(changes, tables, level).to(torch.uint8)
    return tables.flatten(1).gather(1, _indices(pixels)).view(pixels.shape)


def equalized(pixels: Tensor, operation: Tensor, _: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after "Equalize", each channel alone; others as they are."""
    images, channels, index = len(pixels), pixels.shape[3], _indices(pixels)
    every = (index + torch.arange(images, device=pixels.device)[:, None] * (channels * LEVELS)).flatten()
    one = torch.ones((), dtype=torch.int32, device=pixels.device)
    count = one.new_zeros(images * channels * LEVELS).scatter_add_(0, every, one.expand_as(every))
    count = count.view(images, channels, LEVELS)
    below = count.cumsum(2, dtype=torch.int32) - count
    darker = torch.where(count > 0, below, 0).amax(2, keepdim=True)  # pixels darker than the lightest
    step = darker // (LEVELS - 1)  # pixels for each level of the result
    tables = (step // 2 + below).double().div_(step.clamp(min=1)).clamp_(max=LEVELS - 1)  # truncated below
    level = torch.arange(LEVELS, device=pixels.device, dtype=torch.uint8)
    changes = (step > 0) & (operation == NUMBER["Equalize"])[:, None, None]
    tables = torch.where(changes, tables.to(torch.uint8), level)
    return tables.flatten(1).gather(1, index).view(pixels.shape)


def saturated(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after "Color": colours times a factor; others as they are."""
    factor = argument_of("Color", operation, value, 1.0)[:, None, None, None]
    grey = torch.stack([_grey(pixels).byte()] * pixels.shape[3], dim=3)  # faster than a broadcast over three values
    return _blend(grey.float(), pixels, factor)


def sharpened(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after "Sharpness", away from blurred ones by a factor; others as they are.

    A blurred pixel is the mean of 3x3 pixels, where the middle counts five times. Pixels at the border stay.
    """
    factor = argument_of("Sharpness", operation, value, 1.0)[:, None, None, None]
    numbers = pixels.short()
    rows = numbers[:, :-2] + numbers[:, 1:-1] + numbers[:, 2:]
    middle = numbers[:, 1:-1, 1:-1]
    blurred = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * middle).float().div_(13).add_(0.5).floor_()
    sharp = pixels.clone()
    sharp[:, 1:-1, 1:-1] = _blend(blurred, middle, factor)
    return sharp


def _grey(pixels: Tensor) -> Tensor:
    """Grey levels [B, H, W] int32 of images [B, H, W, channels] uint8."""
    if pixels.shape[3] == 1:
        return pixels[..., 0].int()
    red, green, blue = (channel.int() * weight for channel, weight in zip(pixels.unbind(3), LUMA, strict=True))
    return (red + green + blue + (1 << 15)) >> 16


def _mean(pixels: Tensor) -> Tensor:
    """Mean grey level [B] of images, rounded."""
    grey = _grey(pixels).flatten(1)
    return (2 * grey.sum(1) + grey.shape[1]) // (2 * grey.shape[1])


def _blend(other: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """other + factor * (pixels - other), clipped to [0, 255] and truncated to integers, as uint8."""
    difference = pixels.float() - other
    return difference.mul_(factor.float()).add_(other).clamp_(0, LEVELS - 1).to(torch.uint8)


def _indices(pixels: Tensor) -> Tensor:
    """Where each value of the images stands in tables [B, channels * 256]: [B, H * W * channels] int64."""
    flat, channels = pixels.flatten(1), pixels.shape[3]
    first = torch.arange(flat.shape[1], device=pixels.device) % channels * LEVELS
    return flat.long().add_(first)
