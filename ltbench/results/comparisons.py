"""Which methods of a table differ: a mixed model of its scores, and the claims that rest on it.

The model of the score of method i with seed s::

    score_is = mean_i + effect_s + rest_is        Var effect_s: of the seeds;  Var rest_is: of the method

A seed has one effect on all methods, since they share initial weights and images. The rests of two methods may covary,
for example where one continues from the network of the other. Seeds may be missing: every run counts.
docs/statistics.md has the reasons for each choice and the simulation that decided them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ltbench.results.statistics import LEVEL, Array, moderated, tukey_p

COVARIANCE_PRIOR = 8
"""Degrees of freedom with which the covariance of two methods is shrunk to that of a common effect of the seed."""
LEAST_SHARE = 0.05
"""A difference has at least this share of the variance that it would have if the rests did not covary."""
LEAST_FREEDOM = 0.3
"""Of a variance, where the effects of the seeds take nearly all."""
LEAST_VARIANCE = 1e-6
"""Of a method, in squared points, for runs that are all equal."""


@dataclass(frozen=True)
class Noise:
    """The variance of each method's rest, [M]: ``own`` from its own runs alone, and ``moderated`` by all methods.

    Both with their degrees of freedom.
    """

    own: Array
    own_freedom: Array
    moderated: Array
    freedom: Array


@dataclass(frozen=True)
class Model:
    """The scores of a table, taken apart.

    Attributes:
        means: of the methods, by generalised least squares, [M].
        spread: their covariance matrix, [M, M].
        noise: of the methods.
        seed_variance: of the effects of the seeds.
        weights: of the runs, 1 / variance of the rest; 0 where there is none, [M, S].
        shrinkage: of each seed, variance of its effect given the scores, [S].
        rests: of the runs; 0 where there is none, [M, S].
    """

    means: Array
    spread: Array
    noise: Noise
    seed_variance: float
    weights: Array
    shrinkage: Array
    rests: Array

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which runs there are, [M, S]."""
        return self.weights > 0

    @property
    def seed_freedom(self) -> int:
        """Degrees of freedom of the variance of the seeds: those that several methods have, less one."""
        return max(1, int((self.there.sum(axis=0) > 1).sum()) - 1)


def fit(scores: Array) -> Model:
    """Estimate the model of a table.

    A first pass removes the effects of the seeds as fixed ones. Their variance follows from the covariances between
    methods. A second pass shrinks the effects accordingly, so that a seed that few methods have still counts.

    Args:
        scores: [M, S], NaN where a method lacks a seed; at least 2 methods, each with at least 2 seeds.
    """
    there = ~np.isnan(scores)
    scores, there = scores[:, there.any(axis=0)], there[:, there.any(axis=0)]
    count = there.sum(axis=1)
    deviations = _where(there, scores - np.nanmean(scores, axis=1, keepdims=True))
    variances = moderated((deviations**2).sum(axis=1) / (count - 1), count - 1)[0] + LEAST_VARIANCE
    noise, _ = _noise(scores, there, variances, np.inf)
    seed_variance = _seed_variance(deviations, there, noise.moderated)
    noise, rests = _noise(scores, there, noise.moderated, seed_variance)

    weights = there / noise.moderated[:, None]
    shrinkage = 1 / (1 / seed_variance + weights.sum(axis=0))
    spread = np.linalg.inv(np.diag(weights.sum(axis=1)) - (weights * shrinkage) @ weights.T)
    weighted = weights * _where(there, scores)
    means = spread @ (weighted - weights * (shrinkage * weighted.sum(axis=0))).sum(axis=1)
    return Model(means, spread, noise, seed_variance, weights, shrinkage, rests)


def _where(there: NDArray[np.bool_], values: Array) -> Array:
    """The values of runs, and 0 where there is none."""
    return np.where(there, values, 0.0)


def _noise(scores: Array, there: NDArray[np.bool_], variances: Array, seed_variance: float) -> tuple[Noise, Array]:
    """The noise of each method and the rests [M, S], with the effects of the seeds predicted from ``variances``."""
    count = there.sum(axis=1)
    weights = there / variances[:, None]
    shrinkage = 1 / (1 / seed_variance + weights.sum(axis=0))
    means = np.nanmean(scores, axis=1)
    for _ in range(4):  # effects and means in turn; with equally many seeds the first turn is exact
        effects = shrinkage * (weights * _where(there, scores - means[:, None])).sum(axis=0)
        means = np.nanmean(scores - effects, axis=1)
    rests = _where(there, scores - effects - means[:, None])
    of_effects = there @ shrinkage / count / variances  # share of the freedom that the effects take
    freedom = np.maximum((count - 1) * (1 - of_effects), LEAST_FREEDOM)
    own = (rests**2).sum(axis=1) / freedom
    found, of_found = moderated(own, freedom)
    return Noise(own, freedom, found + LEAST_VARIANCE, of_found), rests


def _seed_variance(deviations: Array, there: NDArray[np.bool_], variances: Array) -> float:
    """Variance of the effects of the seeds, by moments: the products of two methods' deviations on common seeds.

    Args:
        deviations: of each run from the mean of its method; 0 where there is none, [M, S].
        there: [M, S].
        variances: of the methods, which weigh the products.
    """
    scaled = deviations / variances[:, None]
    products = (scaled.sum(axis=0) ** 2).sum() - (scaled**2).sum()
    inverse = 1 / there.sum(axis=1)
    common = there.astype(float) @ there.T
    each = common * (1 - inverse[:, None] - inverse + common * np.outer(inverse, inverse))
    each /= np.outer(variances, variances)
    expected = each.sum() - np.trace(each)
    return max(products / expected if expected > 0 else 0.0, 1e-9 * float(variances.min()))


def intervals(model: Model) -> Array:
    """Half widths of the 95 % intervals of the mean of each method over its seeds, [M].

    The variance of a run is that of its method plus that of the seeds; its degrees of freedom are Satterthwaite's.
    """
    noise = model.noise
    variance = noise.moderated + model.seed_variance
    freedom = variance**2 / (noise.moderated**2 / noise.freedom + model.seed_variance**2 / model.seed_freedom)
    return np.asarray(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(variance / model.there.sum(axis=1)))


def differences(model: Model, to: int, own: bool = False) -> tuple[Array, Array, Array]:
    """How far each method is from one of them.

    Args:
        to: index of that method.
        own: whether its variance comes from its own runs alone.

    Returns:
        Differences of means, their variances, and the degrees of freedom of the variances, [M] each: Satterthwaite's,
        but no more than each of the two moderated variances has (a little more if ``own``: see ``more_freedom``).
        Claims are likeliest where a variance is too small by chance, and there Satterthwaite's are too many.
    """
    noise, there = model.noise, model.there
    variances, freedom = noise.moderated.copy(), noise.freedom.copy()
    if own:
        variances[to], freedom[to] = noise.own[to] + LEAST_VARIANCE, noise.own_freedom[to]
    contrast = model.spread - model.spread[to]
    of_seed = (contrast @ model.weights) * model.shrinkage  # [M, S]
    runs = model.weights * (contrast[:, :, None] - of_seed[:, None, :])  # weight of each run in a difference, [M, M, S]

    of_method = (runs**2).sum(axis=2)
    of_effects = model.seed_variance * (runs.sum(axis=1) ** 2).sum(axis=1)
    variance = of_method @ variances + of_effects
    uncertain = of_method**2 @ (variances**2 / freedom) + of_effects**2 / model.seed_freedom

    covariance, of_covariance = _covariances(model, to, runs)
    uncertain += of_covariance
    variance = np.maximum(variance + covariance, LEAST_SHARE * variance)

    least = np.minimum(noise.freedom, noise.freedom[to])
    most = np.minimum(least * (more_freedom(len(variances)) if own else 1), max(1, there.sum() - sum(there.shape) + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return model.means - model.means[to], variance, np.clip(variance**2 / uncertain, 1, np.maximum(most, 1))


def _covariances(model: Model, to: int, runs: Array) -> tuple[Array, Array]:
    """What the covariances of the rests add to the variances of differences, and what to their uncertainty, [M] each.

    Args:
        to: index of the method that all are compared with.
        runs: weight of each run in a difference, [M, M, S].
    """
    there, variances = model.there, model.noise.moderated
    n = np.arange(len(variances))
    products = 2 * (runs[n, n] * runs[:, to]).sum(axis=1)
    freedom = np.maximum((there & there[to]).sum(axis=1) - 1, 1)
    limit = np.sqrt(variances * variances[to])
    covariances = np.clip(model.rests @ model.rests[to] / freedom, -limit, limit)
    weights = products * freedom / (freedom + COVARIANCE_PRIOR)
    return weights * covariances, (weights * limit) ** 2 / freedom


def more_freedom(methods: int) -> float:
    """By how much a difference to a control may have more degrees of freedom than each moderated variance.

    Between 1 and 1.5: fewer methods say less about how noisy a typical one is. Chosen by simulation.
    """
    return max(1.0, 1.5 - 3 / methods)


def against_control(model: Model, control: int, others: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Test the distances to a control, with a false discovery rate of 5 % (Benjamini and Hochberg, 1995).

    The noise of the control is in every difference, so it is estimated from its own runs alone: a control that is
    noisier than the others must not be taken for one of them.

    Args:
        control: index of the control.
        others: [M], which methods are compared with it.

    Returns:
        For the others: differences of means; half widths of their intervals, which exclude 0 exactly where a difference
        is claimed (Benjamini and Yekutieli, JASA 100, 2005: of the intervals of claimed differences, 95 % are expected
        to hold the truth); and adjusted p values, below 5 % where a difference is claimed.
    """
    found, variance, freedom = (values[others] for values in differences(model, control, own=True))
    p = 2 * stdtr(freedom, -np.abs(found) / np.sqrt(variance))
    adjusted = false_discovery(p)
    claimed = max(1, (adjusted < 1 - LEVEL).sum())
    half_widths = stdtrit(freedom, 1 - (1 - LEVEL) * claimed / len(p) / 2) * np.sqrt(variance)
    return found, half_widths, adjusted


def false_discovery(p: Array) -> Array:
    """p values adjusted after Benjamini and Hochberg: what is below q is claimed at a false discovery rate of q."""
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)
    return adjusted


def against_best(model: Model) -> tuple[int, Array, Array]:
    """Test the distance of each method to the one with the best mean, with a family-wise level of 5 %.

    Tukey's test over all pairs, so that it stays valid although the best method is picked first, in Kramer's form for
    unequal variances, and step by step, the clearest difference first: a method that is found worse than the best
    leaves the family of the next step.

    Returns:
        Index of the best method; differences of means (at most 0) and adjusted p values, [M].
    """
    best = int(model.means.argmax())
    found, variance, freedom = differences(model, best)
    q = -found / np.sqrt(np.maximum(variance, LEAST_VARIANCE) / 2)
    methods = len(q)
    order = np.argsort(stdtr(freedom, -q))  # the clearest first
    order = order[order != best]
    steps = tukey_p(q[order], methods - np.arange(methods - 1), freedom[order])
    p = np.ones(methods)
    p[order] = np.maximum.accumulate(steps)
    return best, found, p
