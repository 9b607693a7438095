"""Intervals, moderated variances, the studentized range, and metrics of hits. Needs neither torch nor scipy.stats.

``scipy.stats`` has most of this, but importing it takes longer than the rest of a leaderboard; tests compare with it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, ndtr, psi, stdtrit, zeta

LEVEL = 0.95
LEAST_RECALL = 0.001
"""Lower bound of a recall in a harmonic mean, which would otherwise be 0 for a single class without a hit."""

CAUTION = 0.75
"""By how many standard errors the spread of variances is taken to be larger than estimated."""

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

    A class with n test images and recall p adds the variance p (1 - p) / n. From few images p (1 - p) is not known (a
    single image is a hit or not, so its variance would be 0). So the estimate of each class, with n - 1 degrees of
    freedom, is averaged with that of all classes together, which weighs one. Classes count there by 1 / n, their share
    of the error. With many images this is the standard deviation of a bootstrap that draws within each class.

    Args:
        hits, totals: correctly predicted and all images of each class, [..., C].

    Returns:
        [...]
    """
    p, n = _recalls(hits, totals)
    share = np.where(n > 0, 1 / np.maximum(n, 1), 0.0)
    typical = (share * np.nan_to_num(p)).sum(axis=-1, keepdims=True) / share.sum(axis=-1, keepdims=True)
    # the unbiased n p (1 - p) / (n - 1), weighted by n - 1, and that of all classes, weighted by 1
    of_image = p * (1 - p) + typical * (1 - typical) * share
    return np.asarray(100 * np.sqrt(np.nansum(of_image * share, axis=-1)) / (n > 0).sum(axis=-1))


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


# the noise of methods, and the range of their means


def moderated(variances: ArrayLike, freedom: ArrayLike) -> tuple[Array, Array]:
    """Variances of methods, each shrunk towards the typical one of its table (Smyth, SAGMB 3, 2004, section 6.2).

    The typical variance weighs as many degrees of freedom as the spread of the variances suggests: the less they
    spread, the more. A few variances do not say how far they spread, so the spread is taken to be larger than
    estimated, by ``CAUTION`` standard errors. So variances are never pooled completely.

    Args:
        variances: estimates, [M].
        freedom: their degrees of freedom, [M].

    Returns:
        The moderated variances and their degrees of freedom, [M].
    """
    own, f = np.asarray(variances, float), np.asarray(freedom, float)
    if len(own) < 2 or not own.any():
        return own, f
    logs = np.log(np.maximum(own, 1e-5 * own.mean())) - psi(f / 2) + np.log(f / 2)
    noise = zeta(2, f / 2).mean()  # trigamma
    spread = logs.var(ddof=1)
    excess = max(spread - noise, 0.0) + CAUTION * max(spread, noise) * np.sqrt(2 / (len(own) - 1))
    prior = 2 * _inverse_trigamma(excess)
    usual = np.exp(logs.mean() + psi(prior / 2) - np.log(prior / 2))
    return (prior * usual + f * own) / (prior + f), prior + f


def _inverse_trigamma(value: float) -> float:
    """The inverse of the trigamma function, by Newton's method on its reciprocal, which is nearly linear."""
    x, step = 0.5 + 1 / value, 1.0
    while abs(step) > 1e-9 * x:
        found = zeta(2, x)  # trigamma; its derivative is -2 zeta(3, x)
        step = found * (1 - found / value) / (2 * zeta(3, x))
        x -= step
    return float(x)


def tukey_p(q: ArrayLike, groups: ArrayLike, freedom: ArrayLike) -> Array:
    """Probability that the studentized range of ``groups`` equal means exceeds q; 1 - that of SciPy's cdf.

    The estimate of the error is taken at quantiles u of its distribution, which are dense near 0 and 1, where it
    changes fast: Gauss-Legendre in v, with u = v^3 (10 - 15 v + 6 v^2).

    Args:
        q: range over its estimated standard error; all three arguments have one shape, or are numbers.
        groups: number of means, at least 2.
        freedom: degrees of freedom of the estimate; ``math.inf`` where the error is known.
    """
    q, groups, freedom = np.broadcast_arrays(q, groups, freedom)
    f = np.asarray(freedom, float)[..., None]
    known = np.isinf(f)
    s = np.where(known, 1.0, np.sqrt(chdtri(np.where(known, 1.0, f), 1 - _U) / np.where(known, 1.0, f)))
    within = _BELOW - ndtr(_Z - (q[..., None] * s)[..., None])
    inside = (within ** (groups[..., None, None] - 1) @ _DZ) @ _DU
    return np.asarray(np.clip(1 - groups * inside, 0, 1))


def tukey_critical(groups: int) -> float:
    """The range of ``groups`` equal means, in units of their known standard error, that is exceeded with 5 %."""
    low, high = 0.0, 100.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tukey_p(middle, groups, np.inf) > 1 - LEVEL else (low, middle)
    return high


_X, _DX = np.polynomial.legendre.leggauss(64)
_Z = 6.5 * _X
"""Places of a normal variable, and their weights ``_DZ``."""
_DZ = 6.5 * _DX * np.exp(-(_Z**2) / 2) / np.sqrt(2 * np.pi)
_BELOW = ndtr(_Z)
_X, _DX = np.polynomial.legendre.leggauss(24)
_V = (1 + _X) / 2
_U = _V**3 * (10 - 15 * _V + 6 * _V**2)
_DU = 15 * _V**2 * (1 - _V) ** 2 * _DX
