"""Resizing: the short side to the given length, then the central square."""

import os
from dataclasses import replace

import numpy as np
from PIL import Image

from ltbench.data.images import ImageSet, Split
from ltbench.errors import InputError

BILINEAR = "bilinear"


def square(image: Image.Image, side: int, interpolation: str = BILINEAR) -> Image.Image:
    """Resize the short side to ``side`` pixels (with PIL's antialiasing), then crop the central square.

    Args:
        image: of any size.
        side: in pixels.
        interpolation: name of Pillow's resampling, in lower case.
    """
    if image.size == (side, side):
        return image
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resampling = Image.Resampling[interpolation.upper()]
    return image.resize((width, height), resampling).crop((left, top, left + side, top + side))


def resized(images: ImageSet, side: int | None, interpolation: str = BILINEAR) -> ImageSet:
    """Return the data set with images of ``side`` x ``side`` pixels; None: unchanged."""
    if side is None or images.train.images.shape[1:3] == (side, side):
        return images

    _check_room(images, side)

    def resize(split: Split) -> Split:
        grey = split.images.shape[-1] == 1
        pictures = (Image.fromarray(x[..., 0] if grey else x) for x in split.images)
        pixels = np.stack([np.asarray(square(picture, side, interpolation)) for picture in pictures])
        return Split(pixels[..., None] if grey else pixels, split.labels)

    val = resize(images.val) if images.val is not None else None
    test = resize(images.test) if images.test is not None else None
    return replace(images, train=resize(images.train), val=val, test=test, known_fingerprint=None)


def _check_room(images: ImageSet, side: int) -> None:
    """Raises InputError where the resized images would need more than half of the machine's memory."""
    number = sum(len(split) for split in (images.train, images.val, images.test) if split is not None)
    needed = number * side * side * images.train.images.shape[-1]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory // 2:
        raise InputError(
            f"{images.name} resized to {side}x{side} pixels needs {needed / 1e9:.1f} GB, more than half of the memory "
            f"of this machine ({memory / 1e9:.1f} GB); lower recipe.image_size",
            "image_size",
        )
