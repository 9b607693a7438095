"""Images in memory: what a source delivers and what a training run takes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ltbench.data.longtail import Imbalance, class_counts, hold_out, select


@dataclass(frozen=True, eq=False)
class Split:
    """Images [N, H, W, channels] uint8 (1 or 3 channels) and their labels [N] int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """The images at ``indices``."""
        return Split(np.ascontiguousarray(self.images[indices]), self.labels[indices])

    def counts(self, classes: int) -> list[int]:
        """Images of each class, in label order."""
        return [int(n) for n in np.bincount(self.labels, minlength=classes)]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A whole data set as its source delivers it, before any cut.

    Attributes:
        name: what tables call it.
        classes: class names, in label order.
        train, val, test: its splits; ``val`` is None where the data set defines none.
        found: in words, where the images came from.
        mean, std: per-channel normalisation that the literature uses, in [0, 1]; None: computed from the training set.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    val: Split | None = None
    found: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all pixels and labels: two versions of a data set never share a result."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            if split is not None:
                digest.update(repr(split.images.shape).encode())
                digest.update(np.ascontiguousarray(split.images).data)
                digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class LongTailed:
    """What one training run sees: a long-tailed ``train``, and untouched ``val`` and ``test``.

    Attributes:
        counts: training images of each class, [C].
        mean, std: per-channel normalisation in [0, 1].
    """

    train: Split
    val: Split | None
    test: Split
    counts: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def cut(images: ImageSet, imbalance: Imbalance, subset_seed: int = 0, holdout: int = 0) -> LongTailed:
    """The long-tailed version of a data set.

    Args:
        images: the whole data set.
        imbalance: profile and factor.
        subset_seed: which images survive the cut.
        holdout: images a class that are set aside for validation before the cut; 0: the data set's own ``val``, if any.

    Raises:
        InputError: when a class would be left without an image.
    """
    pool, val = images.train, images.val
    if holdout:
        rest, held = hold_out(pool.labels, holdout, subset_seed)
        pool, val = pool.take(rest), pool.take(held)
    counts = class_counts(pool.counts(len(images.classes)), imbalance)
    train = pool.take(select(pool.labels, counts, subset_seed)) if imbalance.profile != "natural" else pool
    mean, std = images.mean, images.std
    if mean is None or std is None:
        pixels = train.images.reshape(-1, train.images.shape[-1])
        mean = tuple(float(m) / 255 for m in pixels.mean(axis=0, dtype=np.float64))
        std = tuple(max(float(s) / 255, 1e-3) for s in pixels.std(axis=0, dtype=np.float64))
    return LongTailed(train, val, images.test, tuple(counts), mean, std)
