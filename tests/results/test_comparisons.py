"""The claims of a table. Their error rates are in test_simulation.py."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ltbench.results.comparisons import (
    Model,
    against_best,
    against_control,
    differences,
    false_discovery,
    fit,
    intervals,
)

Array = NDArray[np.float64]


def noisy(methods: int = 12, seeds: int = 4, effect: float = 3.0, seed: int = 0) -> Array:
    """Scores [methods, seeds] of equally good methods; a seed shifts them all."""
    generator = np.random.default_rng(seed)
    return generator.normal(60, 1, size=(methods, seeds)) + generator.normal(0, effect, size=seeds)


def literal_means(model: Model, scores: Array) -> Array:
    """Generalised least squares with the variances of a model, over all runs at once."""
    there = ~np.isnan(scores)
    method, seed = np.nonzero(there)
    covariance = np.diag(model.noise.moderated[method]) + model.seed_variance * (seed[:, None] == seed)
    design = (method[:, None] == np.arange(len(scores))).astype(float)
    inverse = np.linalg.inv(covariance)
    return np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ scores[there])


def test_complete_tables_have_plain_means() -> None:
    scores = noisy()
    assert fit(scores).means == pytest.approx(scores.mean(axis=1))


def test_means_are_generalised_least_squares_where_seeds_are_missing() -> None:
    scores = noisy(seeds=5)
    scores[3, 2] = scores[5, :2] = scores[1:, 4] = np.nan
    model = fit(scores)
    assert model.means == pytest.approx(literal_means(model, scores), rel=1e-9)
    assert model.means[5] != pytest.approx(np.nanmean(scores[5]), abs=0.5)  # the seeds of the others count
    differs = fit(np.where(np.arange(5) == 4, scores + 5, scores))  # a seed that only method 0 has
    assert differs.means[0] != pytest.approx(model.means[0], abs=1e-3)


def test_components_of_variance_are_found() -> None:
    generator = np.random.default_rng(0)
    deviations = np.linspace(0.5, 2, 30)
    scores = generator.normal(60, deviations[:, None], size=(30, 400)) + generator.normal(0, 1.5, size=400)
    scores[generator.uniform(size=scores.shape) < 0.3] = np.nan
    model = fit(scores)
    assert np.sqrt(model.noise.own) == pytest.approx(deviations, rel=0.15)
    assert np.sqrt(model.seed_variance) == pytest.approx(1.5, rel=0.1)
    truth = np.sqrt((deviations**2 + 1.5**2) / (~np.isnan(scores)).sum(axis=1))
    assert intervals(model) == pytest.approx(1.96 * truth, rel=0.15)


def test_two_methods_under_one_strong_effect_of_the_seed_are_nearly_a_paired_t_test() -> None:
    scores = noisy(2, 5, effect=30.0)
    p = against_control(fit(scores), 0, np.array([False, True]))[2]
    assert p == pytest.approx([stats.ttest_rel(*scores).pvalue], abs=0.02)


def test_one_late_seed_changes_little() -> None:
    scores = noisy(15, 5) + np.linspace(0, 8, 15)[:, None]
    others = np.arange(15) > 0
    before = fit(scores)
    late = np.column_stack([scores, np.full(15, np.nan)])
    late[7, 5] = 61.0
    after = fit(late)
    claims = [(against_control(model, 0, others)[2] < 0.05, against_best(model)[2] < 0.05) for model in (before, after)]
    assert (claims[0][0] == claims[1][0]).mean() > 0.9
    assert (claims[0][1] == claims[1][1]).mean() > 0.9
    assert claims[0][0].sum() > 5


def test_methods_that_covary_with_the_control_differ_more_precisely() -> None:
    scores = noisy(12, 10)
    scores[1] = scores[0] + np.random.default_rng(1).normal(0, 0.1, size=10)
    variance = differences(fit(scores), 0)[1]
    assert variance[1] < 0.75 * np.median(variance[2:])


def test_the_noise_of_the_control_comes_from_its_own_runs() -> None:
    scores = noisy(20, 3)
    scores[0] = scores[0].mean() + 5 * (scores[0] - scores[0].mean())
    model = fit(scores)
    assert model.noise.own[0] > 1.3 * model.noise.moderated[0]
    assert (differences(model, 0, own=True)[1][1:] > differences(model, 0)[1][1:]).all()


def test_an_interval_leaves_out_zero_just_where_a_difference_is_claimed() -> None:
    for shift in (0.0, 6.0):
        scores = noisy(30, 5) + np.linspace(0, shift, 30)[:, None]
        found, half_widths, p = against_control(fit(scores), 0, np.arange(30) > 0)
        assert ((np.abs(found) > half_widths) == (p < 0.05)).all()
        assert (p < 0.05).any() == (shift > 0)


def test_false_discovery_is_that_of_scipy() -> None:
    p = np.random.default_rng(0).uniform(size=20) ** 3
    assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p))


def test_real_differences_to_the_best_are_found_though_seeds_differ_more() -> None:
    scores = noisy(3, 4, effect=20.0)
    scores[2] -= 20
    best, found, p = against_best(fit(scores))
    assert best in (0, 1)
    assert found[best] == 0
    assert (p >= 0.05).tolist() == [True, True, False]


def test_a_method_found_worse_leaves_the_family() -> None:
    scores = noisy(12, 5)
    scores[0] += 4
    alone = against_best(fit(scores))[2]
    scores[6:] -= 40
    among_worse = against_best(fit(scores))[2]
    assert (among_worse[6:] < 0.001).all()
    assert (among_worse[1:6] < alone[1:6]).all()


def test_runs_without_noise_differ_wherever_they_differ() -> None:
    scores = np.array([[60.0, 60.0], [60.0, 60.0], [50.0, 50.0]])
    best, found, p = against_best(fit(scores))
    assert found == pytest.approx([0, 0, -10])
    assert p[:2] == pytest.approx([1, 1], abs=1e-3)
    assert p[2] < 0.05
