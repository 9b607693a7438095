"""Samplers: which training images a stream delivers during one epoch.

A sampler is a function that fills a plan. It gets the pool of training images, how many draws the epoch has, how far
the stage has come, and a generator; it returns indices. Write one in a method's file if it is not here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """The training images of a run as a sampler sees them.

    Attributes:
        by_class: image indices, all of class 0 first, then class 1, ... [N]
        counts: images of each class, [C]
        starts: where each class begins in ``by_class``, [C]
    """

    by_class: Indices
    counts: Indices
    starts: Indices

    @classmethod
    def of(cls, labels: NDArray[np.int64], classes: int) -> "Pool":
        """The pool of images with these labels [N]."""
        counts = np.bincount(labels, minlength=classes)
        return cls(np.argsort(labels, kind="stable"), counts, np.cumsum(counts) - counts)


Sampler = Callable[[Pool, int, float, np.random.Generator], Indices]
"""(pool, draws, progress in [0, 1) of the stage, generator) -> indices [draws]."""


def instance_balanced(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
    """Ordinary shuffling: every image once an epoch."""
    passes = -(-draws // len(pool.by_class))
    return np.concatenate([generator.permutation(len(pool.by_class)) for _ in range(passes)])[:draws]


def class_balanced(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
    """Every class equally often: a class uniformly, then one of its images uniformly, with replacement.

    Kang et al., ICLR 2020 (arXiv 1910.09217), equation 1 with q = 0.
    """
    classes = generator.integers(len(pool.counts), size=draws)
    drawn: Indices = pool.by_class[pool.starts[classes] + generator.integers(pool.counts[classes])]
    return drawn
