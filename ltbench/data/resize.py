"""Resizing: the short side to the given length, then the central square."""

from dataclasses import replace

import numpy as np
from PIL import Image

from ltbench.data.images import ImageSet, Split

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

    def resize(split: Split) -> Split:
        grey = split.images.shape[-1] == 1
        pictures = (Image.fromarray(x[..., 0] if grey else x) for x in split.images)
        pixels = np.stack([np.asarray(square(picture, side, interpolation)) for picture in pictures])
        return Split(pixels[..., None] if grey else pixels, split.labels)

    val = resize(images.val) if images.val is not None else None
    test = resize(images.test) if images.test is not None else None
    return replace(images, train=resize(images.train), val=val, test=test, known_fingerprint=None)
