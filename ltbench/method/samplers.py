"""Samplers: functions that choose the training images of a stream for one epoch.

A sampler takes the pool of training images, the number of draws in the epoch, the progress of the stage and a
generator, and returns indices. A method's file may define its own sampler.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
MOST_STRENGTH = 10
"""The largest strength of augmentation that a class can have; see ``Stage.strengths``."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The training images of a run, by class.

    Attributes:
        by_class: [N] image indices, first those of class 0, then those of class 1, and so on.
        counts: [C] number of images of each class.
        starts: [C] position of each class's first image in ``by_class``.
    """

    by_class: Indices
    counts: Indices
    starts: Indices

    @classmethod
    def of(cls, labels: NDArray[np.int64], classes: int) -> "Pool":
        """Build the pool of images with these labels [N]."""
        counts = np.bincount(labels, minlength=classes)
        return cls(np.argsort(labels, kind="stable"), counts, np.cumsum(counts) - counts)


Sampler = Callable[[Pool, int, float, np.random.Generator], Indices]
"""(pool, draws, progress in [0, 1) of the stage, generator) -> indices [draws]."""


@dataclass(frozen=True)
class Again:
    """A stream with the same images as an earlier stream, augmented differently: a second view.

    Attributes:
        stream: name of the earlier stream.
        augment, graded: see `Augmented`.
    """

    stream: str
    augment: str | None = None
    graded: float = 0.0


@dataclass(frozen=True)
class Augmented:
    """A sampler whose images are augmented in another way than the recipe's.

    Attributes:
        sampler: chooses the images.
        augment: strong augmentations after the recipe's crop, flip and jitter, in place of those of the recipe: a value
            that ``recipe.augment`` may have, such as ``"autoaugment+cutout"`` or ``"none"``; None: those of the recipe.
            The side of Cutout is half of the image's, or the recipe's if the recipe has Cutout, too.
        graded: probability with which an image also gets random operations, as strong as ``Stage.strengths`` says for
            its class. They come before Cutout.
    """

    sampler: Sampler
    augment: str | None = None
    graded: float = 0.0

    def __call__(self, pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        """Draw the images; see `Sampler`."""
        return self.sampler(pool, draws, progress, generator)


Stream = Sampler | Again


def augment_of(stream: Stream) -> str | None:
    """Return the strong augmentations that a stream asks for; None: those of the recipe."""
    return stream.augment if isinstance(stream, Again | Augmented) else None


def graded_of(stream: Stream) -> float:
    """Return the probability with which images of a stream are augmented as strongly as their class allows."""
    return stream.graded if isinstance(stream, Again | Augmented) else 0.0


def instance_balanced(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
    """Shuffle the images: every image once per epoch."""
    passes = -(-draws // len(pool.by_class))
    return np.concatenate([generator.permutation(len(pool.by_class)) for _ in range(passes)])[:draws]


def class_balanced(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
    """Draw a class uniformly, then one of its images uniformly, with replacement.

    Kang et al., ICLR 2020 (arXiv 1910.09217), equation 1 with q = 0.
    """
    return _of_classes(pool, generator.integers(len(pool.counts), size=draws), generator)


def frequency_power(q: float) -> Sampler:
    """Draw a class with probability proportional to n_j ** q, then one of its images uniformly, with replacement.

    Kang et al., ICLR 2020 (arXiv 1910.09217), equation 1. q = 1/2 is square-root sampling, q = -1 the reversed sampler
    of BBN (Zhou et al., CVPR 2020).
    """

    def sample(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        weights = pool.counts.astype(np.float64) ** q
        return _of_classes(pool, generator.choice(len(weights), size=draws, p=weights / weights.sum()), generator)

    return sample


def effective_number_balanced(beta: float) -> Sampler:
    """Draw an image with probability proportional to (1 - beta) / (1 - beta ** n_y), with replacement.

    The re-sampling baseline in the code of Cao et al., NeurIPS 2019 (arXiv 1906.07413), where beta = 0.9999: almost
    uniform over classes that are much smaller than 1 / (1 - beta).

    Args:
        beta: in (0, 1).
    """

    def sample(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        counts = pool.counts.astype(np.float64)
        weights = counts / -np.expm1(counts * np.log(beta))
        return _of_classes(pool, generator.choice(len(weights), size=draws, p=weights / weights.sum()), generator)

    return sample


def progressively_balanced(power: float = 1.0) -> Sampler:
    """Move from instance-balanced to class-balanced: p_j = (1 - t) n_j / N + t / C, with t = progress ** power.

    Kang et al., ICLR 2020 (arXiv 1910.09217), equation 2, where power = 1. With replacement.
    """

    def sample(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        t = progress**power
        p = (1 - t) * pool.counts / pool.counts.sum() + t / len(pool.counts)
        return _of_classes(pool, generator.choice(len(p), size=draws, p=p / p.sum()), generator)

    return sample


def four_in_a_row(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
    """Draw four images of a class, then of the next one. Classes, and the images of each, come in shuffled rounds."""
    number = len(pool.counts)
    rounds = -(-draws // (4 * number))
    classes = np.concatenate([generator.permutation(number) for _ in range(rounds)]).repeat(4)[:draws]
    found = np.empty(draws, np.int64)
    places = np.split(np.argsort(classes, kind="stable"), np.bincount(classes, minlength=number).cumsum()[:-1])
    for start, count, own in zip(pool.starts, pool.counts, places, strict=True):
        passes = [generator.permutation(count) for _ in range(-(-len(own) // count))]
        found[own] = pool.by_class[start + np.concatenate([np.empty(0, np.int64), *passes])[: len(own)]]
    return found


def deferred(late: Sampler, at: float) -> Sampler:
    """Shuffle as usual until ``progress`` reaches ``at``, then use ``late``.

    Cao et al., NeurIPS 2019 (arXiv 1906.07413), section 3.3 (DRS).
    """

    def sample(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        return (late if progress >= at else instance_balanced)(pool, draws, progress, generator)

    return sample


def balances(sampler: Stream) -> bool:
    """Return whether a sampler balances the classes, measured by draws from classes of 900 and 100 images."""
    if isinstance(sampler, Again):
        return False
    pool = Pool.of(np.repeat([0, 1], [900, 100]), 2)
    drawn = sampler(pool, 1000, 0.999, np.random.default_rng(0))
    return bool((drawn >= 900).mean() > 0.2)


def _of_classes(pool: Pool, classes: NDArray[np.int64], generator: np.random.Generator) -> Indices:
    """Draw an image of each of these classes, uniformly."""
    drawn: Indices = pool.by_class[pool.starts[classes] + generator.integers(pool.counts[classes])]
    return drawn
