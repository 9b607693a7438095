"""Images in memory or mapped from a file: data sets, their splits, and long-tailed subsets for training."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.data.longtail import Imbalance, class_counts, hold_out, select

CHUNK_BYTES = 1 << 26
MOST_SQUARES = 65_536
"""Number of squared uint8 values whose sum fits into a uint32."""


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images.

    Attributes:
        images: [N, H, W, channels] uint8, 1 or 3 channels; or a memory map [M, H, W, channels]. The features of frozen
            backbones take their place as float32 [M, 1, 1, D].
        labels: [N] int64.
        rows: [N] int64, the rows of ``images`` that belong to the split; None: all, in their order.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_bytes(self) -> int:
        """Size of the decoded images."""
        return len(self) * math.prod(self.images.shape[1:]) * self.images.itemsize

    @property
    def in_file(self) -> bool:
        """Whether the images are a memory map."""
        return isinstance(self.images, np.memmap)

    def pixels(self) -> NDArray[Any]:
        """Return the images [N, H, W, channels]."""
        return self.images if self.rows is None else self.images[self.rows]

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Return a split of the images at ``indices``. For a memory map, no pixels are read."""
        if self.in_file:
            rows = indices if self.rows is None else self.rows[indices]
            return Split(self.images, self.labels[indices], rows)
        return Split(np.ascontiguousarray(self.images[indices]), self.labels[indices])

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Yield the images in order, in arrays [n, H, W, channels] of at most 64 MB (or one image)."""
        step = min(MOST_SQUARES, max(1, CHUNK_BYTES * len(self) // self.size_bytes))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            yield self.images[part] if self.rows is None else self.images[self.rows[part]]

    def counts(self, classes: int) -> list[int]:
        """Count the images of each class, in label order."""
        return [int(n) for n in np.bincount(self.labels, minlength=classes)]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A complete data set, before images are removed to make it long-tailed.

    Attributes:
        name: name in tables.
        classes: class names, in label order.
        train, val, test: the splits. ``val`` is None if the data set has none; ``test`` is None while methods train.
        found: where the images came from, in words.
        mean, std: per-channel normalisation of the literature, in [0, 1]; None: computed from the training set.
        known_fingerprint: the fingerprint, if the source knows it already and no pixels need to be read.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split | None
    val: Split | None = None
    found: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    known_fingerprint: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all pixels and labels, so that two versions of a data set never share a result."""
        if self.known_fingerprint is not None:
            return self.known_fingerprint
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            if split is not None:
                digest.update(repr((len(split), *split.images.shape[1:])).encode())
                for images in split.chunks():
                    digest.update(np.ascontiguousarray(images).data)
                digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
        return digest.hexdigest()[:16]

    def without_test(self) -> "ImageSet":
        """Return the same data set without its test split, as tuning uses it."""
        return replace(self, test=None, known_fingerprint=self.fingerprint)


@dataclass(frozen=True, eq=False)
class LongTailed:
    """The data of a training run: a long-tailed ``train``, and unchanged ``val`` and ``test``.

    Attributes:
        val, test: None if missing. While a method trains, ``test`` is missing, unless the recipe asks for a test curve.
        counts: training images of each class, [C].
        mean, std: per-channel normalisation in [0, 1].
        classes: class names, in label order; empty: they have none.
    """

    train: Split
    val: Split | None
    test: Split | None
    counts: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class; its label where the data set has no names."""
        return self.classes or tuple(map(str, range(len(self.counts))))


def cut(images: ImageSet, imbalance: Imbalance, subset_seed: int = 0, holdout: int = 0) -> LongTailed:
    """Make the long-tailed version of a data set.

    Args:
        images: the complete data set.
        imbalance: profile and factor.
        subset_seed: seed of the choice of training images.
        holdout: images per class that become the validation set first; 0: the data set's own ``val``, if any.

    Raises:
        InputError: if a class would have no image.
    """
    pool, val = images.train, images.val
    if holdout:
        rest, held = hold_out(pool.labels, holdout, subset_seed)
        pool, val = pool.take(rest), pool.take(held)
    counts = class_counts(pool.counts(len(images.classes)), imbalance)
    train = pool.take(select(pool.labels, counts, subset_seed)) if imbalance.profile != "natural" else pool
    mean, std = images.mean, images.std
    if mean is None or std is None:
        mean, std = mean_and_std(train)
    return LongTailed(train, val, images.test, tuple(counts), mean, std, images.classes)


def mean_and_std(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel, in [0, 1], in one pass with integer sums.

    Of features, which are float32, they are the mean of each dimension, and for all of them the root mean square of
    their deviations, so that directions and distances stay as they are.
    """
    channels = split.images.shape[-1]
    if split.images.dtype != np.uint8:
        values = split.pixels().reshape(-1, channels)
        variance = float(values.var(axis=0, dtype=np.float64).mean())
        return tuple(values.mean(axis=0, dtype=np.float64)), (max(math.sqrt(variance), 1e-3),) * channels
    sums, squares = [0] * channels, [0] * channels
    for images in split.chunks():
        flat = images.reshape(len(images), -1)
        places = flat.sum(axis=0, dtype=np.uint32), np.square(flat, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        by_channel = [place.reshape(-1, channels).sum(axis=0, dtype=np.int64) for place in places]
        sums = [old + int(new) for old, new in zip(sums, by_channel[0], strict=True)]
        squares = [old + int(new) for old, new in zip(squares, by_channel[1], strict=True)]
    n = split.size_bytes // channels
    mean = tuple(s / n / 255 for s in sums)
    std = tuple(max(math.sqrt((n * q - s * s) / n**2) / 255, 1e-3) for s, q in zip(sums, squares, strict=True))
    return mean, std
