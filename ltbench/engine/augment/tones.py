"""Operations that change grey levels and colours, and the sharpness.

Most of them replace each grey level by another one, so a table of 256 levels is computed for each image, and each pixel
is looked up in it. Numbers are rounded where PIL rounds them.
"""

import torch
from torch import Tensor

from ltbench.engine.augment.kinds import NUMBER, argument_of

MAPPED = ("Brightness", "Contrast", "Posterize", "Solarize", "Invert")
SPREAD = ("AutoContrast", "Equalize")
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


def spread(pixels: Tensor, operation: Tensor, _: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after their operation of ``SPREAD``, each channel alone; others as they are."""
    images, channels = len(pixels), pixels.shape[3]
    flat = pixels.flatten(1)
    first = torch.arange(flat.shape[1], device=pixels.device) % channels * LEVELS
    index = flat.long().add_(first)  # where each value stands in tables [B, channels * 256]
    histogram = torch.zeros((images, channels * LEVELS), dtype=torch.int32, device=pixels.device)
    histogram.scatter_add_(1, index, torch.ones((), dtype=torch.int32, device=pixels.device).expand_as(index))
    histogram = histogram.view(images, channels, LEVELS)
    equalize = (operation == NUMBER["Equalize"])[:, None, None]
    autocontrast = (operation == NUMBER["AutoContrast"])[:, None, None]
    tables = torch.arange(LEVELS, device=pixels.device).to(torch.uint8)
    tables = torch.where(equalize, _equalized(histogram), tables)
    tables = torch.where(autocontrast, _stretched(histogram), tables)
    return tables.flatten(1).gather(1, index).view(pixels.shape)


def _equalized(histogram: Tensor) -> Tensor:
    """Tables [B, channels, 256] uint8 that spread the levels evenly; for images of one level the identity."""
    below = histogram.cumsum(2, dtype=torch.int32) - histogram
    darker = torch.where(histogram > 0, below, 0).amax(2, keepdim=True)  # pixels darker than the lightest
    step = darker // (LEVELS - 1)  # pixels for each level of the result
    level = torch.arange(LEVELS, device=histogram.device, dtype=torch.int32)
    tables = (step // 2 + below) // step.clamp(min=1)
    return torch.where(step > 0, tables.clamp_(max=LEVELS - 1), level).to(torch.uint8)


def _stretched(histogram: Tensor) -> Tensor:
    """Tables [B, channels, 256] uint8 that map the darkest level to 0 and the lightest to 255, where they differ."""
    level = torch.arange(LEVELS, device=histogram.device, dtype=torch.float64)
    darkest = torch.where(histogram > 0, level, LEVELS).amin(2, keepdim=True)
    lightest = torch.where(histogram > 0, level, 0).amax(2, keepdim=True)
    scale = torch.full_like(darkest, LEVELS - 1) / (lightest - darkest).clamp(min=1)  # 255 / x would be 255 * (1 / x)
    stretched = (level * scale - darkest * scale).clamp_(0, LEVELS - 1)
    return torch.where(lightest > darkest, stretched, level).to(torch.uint8)


def saturated(pixels: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    """Images [B, H, W, channels] uint8 after "Color": colours times a factor; others as they are."""
    factor = argument_of("Color", operation, value, 1.0)[:, None, None, None]
    return _blend(_grey(pixels)[..., None], pixels, factor)


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
