"""Intervals, tests of differences, and metrics from the hits of each class. Needs neither torch nor scipy.stats.

``scipy.stats`` has most of this, but importing it takes longer than the rest of a leaderboard; tests compare with it.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, ndtr, ndtri, polygamma, psi, stdtrit

LEVEL = 0.95
LEAST_RECALL = 0.001
"""Lower bound of a recall in a harmonic mean, which would otherwise be 0 for a single class without a hit."""

Array = NDArray[np.float64]


def seed_interval(deviation: ArrayLike, seeds: ArrayLike) -> Array:
    """Half width of the 95 % t-interval of a mean over seeds; NaN for a single one.

    Args:
        deviation: standard deviation over seeds (n - 1 in the denominator), of any shape.
        seeds: number of seeds, of the same shape.
    """
    n = np.asarray(seeds, float)
    return np.asarray(stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * np.asarray(deviation, float) / np.sqrt(n))


# metrics from the hits of each class


def _recalls(hits: ArrayLike, totals: ArrayLike) -> tuple[Array, Array]:
    """Recalls, NaN for a class without an image, and the images of each class, both [..., C]."""
    n = np.asarray(totals, float)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits, float) / n, n


def image_error(hits: ArrayLike, totals: ArrayLike) -> Array:
    """Standard error, in points, of one run's balanced accuracy: the test images as a sample, class by class.

    It is the standard deviation of a bootstrap over test images that draws within each class (of the n images of a
    class with k hits it draws Binomial(n, k / n) hits), without drawing.

    Args:
        hits, totals: correctly predicted and all images of each class, [..., C].

    Returns:
        [...]
    """
    p, n = _recalls(hits, totals)
    variance = np.nansum(p * (1 - p) / n, axis=-1)
    return np.asarray(100 * np.sqrt(variance) / (n > 0).sum(axis=-1))


def worst_class(hits: ArrayLike, totals: ArrayLike) -> Array:
    """Recall of the worst class in percent, [...], from [..., C]; classes without an image are skipped."""
    return np.asarray(100 * np.nanmin(_recalls(hits, totals)[0], axis=-1))


def harmonic_mean(hits: ArrayLike, totals: ArrayLike) -> Array:
    """Harmonic mean of the recalls in percent, [...], from [..., C] (advocated by Du and Wu, arXiv 2303.03630).

    A recall below 0.1 % counts as 0.1 % (our rule: one class without a hit would make the mean 0, whatever the others
    are). Classes without an image are skipped.
    """
    p, n = _recalls(hits, totals)
    return np.asarray(100 * (n > 0).sum(axis=-1) / np.nansum(1 / np.maximum(p, LEAST_RECALL), axis=-1))


def shifted_accuracy(hits: ArrayLike, totals: ArrayLike, shares: ArrayLike) -> Array:
    """Accuracy in percent, [...], if the classes had other shares of the test images.

    The recalls [..., C] weighted by the shares: the exact expectation over all ways of drawing so many test images of
    each class. Classes without an image are skipped.
    """
    p, n = _recalls(hits, totals)
    weights = np.where(n > 0, shares, 0.0)
    return np.asarray(100 * np.nansum(weights * p, axis=-1) / weights.sum(axis=-1))


# several methods on the same seeds


@cache
def _nodes(freedom: float) -> tuple[Array, Array, Array, Array]:
    """Places and weights of a normal variable [Z] and of the estimate of its standard deviation [S].

    The estimate is taken at quantiles u of its distribution, which are dense near 0 and 1, where it changes
    fast: Gauss-Legendre in v, with u = v^3 (10 - 15 v + 6 v^2).
    """
    x, dx = np.polynomial.legendre.leggauss(64)
    z, dz = 6.5 * x, 6.5 * dx * np.exp(-((6.5 * x) ** 2) / 2) / np.sqrt(2 * np.pi)
    x, dx = np.polynomial.legendre.leggauss(24)
    v = (1 + x) / 2
    u, du = v**3 * (10 - 15 * v + 6 * v**2), 15 * v**2 * (1 - v) ** 2 * dx
    s = np.ones_like(u) if math.isinf(freedom) else np.sqrt(chdtri(freedom, 1 - u) / freedom)
    return z, dz, s, du


def tukey_p(q: ArrayLike, groups: int, freedom: float) -> Array:
    """Probability that the studentized range of ``groups`` equal means exceeds q; 1 - that of SciPy's cdf.

    Args:
        q: range over its estimated standard error, of any shape.
        groups: number of means.
        freedom: degrees of freedom of the estimate; ``math.inf`` where the error is known.
    """
    z, dz, s, ds = _nodes(freedom)
    within = ndtr(z) - ndtr(z - np.multiply.outer(q, s)[..., None])
    return np.asarray(np.clip(1 - groups * (within ** (groups - 1) @ dz) @ ds, 0, 1))


def dunnett_p(t: ArrayLike, others: int, freedom: float) -> Array:
    """Probability that the largest of ``others`` absolute t values against one control exceeds |t| under equal means.

    Dunnett, JASA 50 (1955): equally many observations each, so any two of the t values are correlated by 1/2.
    """
    z, dz, s, ds = _nodes(freedom)
    reach = np.sqrt(2) * np.multiply.outer(np.abs(t), s)[..., None]
    return np.asarray(np.clip(1 - ((ndtr(z + reach) - ndtr(z - reach)) ** others @ dz) @ ds, 0, 1))


@cache
def critical_value(p: Callable[[ArrayLike, int, float], Array], groups: int, freedom: float) -> float:
    """Where ``tukey_p`` or ``dunnett_p`` is 5 %."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if p(middle, groups, freedom) > 1 - LEVEL else (low, middle)
    return high


def block_noise(scores: Array) -> tuple[Array, int]:
    """Variance of each method's mean over seeds, in a randomised block design with unequal noise.

    The seeds are the blocks: an effect of a seed that is the same for all methods is removed. A few seeds say little
    about the variance of one method, so each variance is shrunk towards the typical one, with the weight of as many
    degrees of freedom as their spread suggests (moderated variances: Smyth, SAGMB 3, 2004, sections 3 and 6.2). Where
    they spread no more than under equal noise, all are replaced by the pooled variance.

    Args:
        scores: [methods, seeds], at least 2 of each.

    Returns:
        The variances of the means, [methods], and their degrees of freedom.
    """
    methods, seeds = scores.shape
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    freedom = (methods - 1) * (seeds - 1)
    own = freedom / methods
    variances = (residuals**2).sum(axis=1) / own
    pooled = variances.mean()
    if pooled:
        logs = np.log(np.maximum(variances, 1e-5 * pooled)) - psi(own / 2) + math.log(own / 2)
        excess = logs.var(ddof=1) - polygamma(1, own / 2)
        if excess > 0:
            prior = 2 * _inverse_trigamma(excess)
            usual = math.exp(logs.mean() + psi(prior / 2) - math.log(prior / 2))
            variances = (prior * usual + own * variances) / (prior + own)
            return variances / seeds, max(1, min(freedom, math.floor(prior + own)))
    return np.full(methods, pooled / seeds), freedom


def _inverse_trigamma(value: float) -> float:
    """The inverse of the trigamma function, by Newton's method on its reciprocal, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(20):
        found = polygamma(1, x)
        x += found * (1 - found / value) / polygamma(2, x)
    return float(x)


def against_best(scores: Array) -> tuple[Array, Array]:
    """Test the distance of each method to the one with the best mean.

    Tukey's honest significant difference, in Kramer's form for unequal variances. The family is all pairs, so that the
    test stays valid although the best method is picked first.

    Args:
        scores: [methods, seeds], larger is better; at least 2 seeds.

    Returns:
        Differences of means (at most 0) and p values, both [methods].
    """
    means = scores.mean(axis=1)
    differences = means - means.max()
    if len(scores) == 1:
        return differences, np.ones(1)
    noise, freedom = block_noise(scores)
    errors = np.sqrt((noise + noise[means.argmax()]) / 2)
    return differences, tukey_p(_ratio(-differences, errors), len(scores), freedom)


def against_control(scores: Array, control: int, others: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Test the distances to a control: Dunnett's test, with seeds as blocks.

    Args:
        scores: [methods, seeds] of all methods of a table; at least 2 of each.
        control: index of the control.
        others: [methods], which methods are compared with it.

    Returns:
        For the others: differences of means; half widths of their simultaneous 95 % intervals, which exclude 0 exactly
        where the p value is below 5 %; and the p values.
    """
    means = scores.mean(axis=1)
    noise, freedom = block_noise(scores)
    differences = means[others] - means[control]
    errors = np.sqrt(noise[others] + noise[control])
    p = dunnett_p(_ratio(differences, errors), len(errors), freedom)
    return differences, critical_value(dunnett_p, len(errors), freedom) * errors, p


def _ratio(differences: Array, errors: Array) -> Array:
    """Differences over their errors; 0 where there is none."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.divide(differences, errors, out=np.zeros_like(differences), where=differences != 0))


# several methods on the same test images


def paired_image_error(correct: NDArray[np.bool_], labels: NDArray[np.integer], to: int) -> tuple[Array, Array]:
    """Noise of differences in balanced accuracy between runs that were tested on the same images.

    McNemar's test stratified by class: if two methods are equally good, an image that only one of them gets right is
    as likely to favour one as the other. Images weigh 1 / (classes x images of their class). Where classes are equal it
    is McNemar's (Psychometrika 12, 1947), with Edwards' correction for continuity (ib. 13, 1948).

    Args:
        correct: [methods, N], which test images each method gets right.
        labels: [N].
        to: index of the method that the others are compared with.

    Returns:
        In points, [methods] each: the standard error under equality, and the correction to subtract from a difference.
    """
    sizes = np.bincount(labels)
    weights = 100 / sizes[labels] / (sizes > 0).sum()
    weighted = (correct != correct[to]) * weights
    return np.sqrt((weighted**2).sum(axis=1)), weighted.max(axis=1)


def bonferroni(differences: Array, errors: Array, corrections: Array, comparisons: int) -> tuple[Array, Array]:
    """Half widths of simultaneous 95 % intervals and p values of differences with known normal errors.

    Args:
        differences, errors, corrections: [methods]; see ``paired_image_error``.
        comparisons: number of comparisons in the family.
    """
    beyond = np.maximum(np.abs(differences) - corrections, 0)
    z = np.divide(beyond, errors, out=np.zeros_like(beyond), where=errors > 0)
    half_widths = ndtri(1 - (1 - LEVEL) / 2 / max(1, comparisons)) * errors + corrections
    return half_widths, np.minimum(1, 2 * ndtr(-z) * max(1, comparisons))
