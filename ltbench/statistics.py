"""Intervals, and which differences are more than noise."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, ndtr, ndtri, stdtrit

LEVEL = 0.95


def seed_interval(deviation: ArrayLike, seeds: ArrayLike) -> NDArray[np.float64]:
    """Half width of the 95 % t-interval of a mean over seeds; NaN for a single one.

    Args:
        deviation: standard deviation over seeds (n - 1 in the denominator), of any shape.
        seeds: how many, of the same shape.
    """
    n = np.asarray(seeds, float)
    return np.asarray(stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * np.asarray(deviation, float) / np.sqrt(n))


def image_error(hits: Sequence[int], totals: Sequence[int]) -> float:
    """Standard error, in points, of one run's balanced accuracy: the test images as a sample, class by class."""
    n = np.asarray(totals, float)
    p = np.asarray(hits, float)[n > 0] / n[n > 0]
    return float(100 * np.sqrt((p * (1 - p) / n[n > 0]).sum()) / len(p))


@cache
def tukey_quantile(groups: int, freedom: int) -> float:
    """The 95 % quantile of the studentized range; what ``scipy.stats.studentized_range`` gives.

    It is computed here because importing ``scipy.stats`` takes longer than all the rest of a leaderboard: the range of
    ``groups`` normal variables, integrated over the independent estimate of their standard deviation.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z, dz = 9 * nodes, 9 * weights
    deviation = np.sqrt(chdtri(freedom, (1 + nodes) / 2) / freedom)[:, None]  # at Gauss nodes of its distribution

    def probability(q: float) -> float:
        within = (ndtr(z) - ndtr(z - q * deviation)) ** (groups - 1) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        return float(groups * (within @ dz) @ weights / 2)

    low, high = 0.0, 1000.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < LEVEL else (low, middle)
    return high


def tied_with_best(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which methods cannot be told from the best one.

    Tukey's honest significant difference in a randomised block design, the seeds being the blocks: the seed's own
    effect, shared by all methods, is taken out, the noise is pooled over methods, and the family-wise error over all
    pairs is 5 %, so that picking the best first costs nothing.

    Args:
        scores: [methods, seeds], larger is better; at least 2 seeds.

    Returns:
        [methods]; True for the best and everything tied with it.
    """
    methods, seeds = scores.shape
    means = scores.mean(axis=1)
    if methods == 1:
        return np.ones(1, bool)
    residuals = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    freedom = (methods - 1) * (seeds - 1)
    noise = np.sqrt((residuals**2).sum() / freedom / seeds)
    return np.asarray(means.max() - means <= tukey_quantile(methods, freedom) * noise)


def tied_by_images(scores: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The same for a single seed, from the sampling error of the test images alone (z-tests, Bonferroni over pairs).

    Args:
        scores, errors: [methods], mean and standard error.
    """
    pairs = max(1, len(scores) * (len(scores) - 1) // 2)
    z = ndtri(1 - (1 - LEVEL) / 2 / pairs)
    best = int(scores.argmax())
    return np.asarray(scores[best] - scores <= z * np.hypot(errors[best], errors))
