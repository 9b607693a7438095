import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ltbench.results.statistics import (
    against_best,
    against_control,
    block_noise,
    bonferroni,
    critical_value,
    dunnett_p,
    harmonic_mean,
    image_error,
    paired_image_error,
    seed_interval,
    shifted_accuracy,
    tukey_p,
    worst_class,
)

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
GROUPS_AND_FREEDOM = [(2, 1), (2, 2), (3, 4), (6, 10), (12, 22), (40, 400)]
REPETITIONS = 2000
AT_MOST = stats.binom.ppf(0.999, REPETITIONS, 0.05)
"""Claims that tests at exactly 5 % stay below in 999 of 1,000 simulations: 131 of 2,000."""


def to_first(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    return against_control(scores, 0, np.arange(len(scores)) > 0)


@pytest.mark.parametrize(("groups", "freedom"), GROUPS_AND_FREEDOM)
def test_the_studentized_range_is_that_of_scipy(groups: int, freedom: int) -> None:
    q = np.array([[0.5, 1.0, 2.0], [3.5, 5.0, 20.0]])
    expected = stats.studentized_range.sf(q, groups, freedom)
    assert tukey_p(q, groups, freedom) == pytest.approx(expected, abs=2e-5)
    assert critical_value(tukey_p, groups, freedom) == pytest.approx(
        stats.studentized_range.ppf(0.95, groups, freedom), rel=1e-4
    )


def test_the_range_of_means_with_a_known_error() -> None:
    assert critical_value(tukey_p, 5, math.inf) == pytest.approx(stats.studentized_range.ppf(0.95, 5, 1e9), rel=1e-6)


@pytest.mark.parametrize(("others", "freedom"), [(1, 2), (2, 4), (5, 10), (14, 28)])
def test_dunnett_is_a_multivariate_t(others: int, freedom: int) -> None:
    t = np.array([0.5, 2.0, 3.0])
    joint = stats.multivariate_t(shape=0.5 + 0.5 * np.eye(others), df=freedom, seed=0)
    expected = [1 - joint.cdf(np.full(others, x), lower_limit=np.full(others, -x)) for x in t]
    assert dunnett_p(t, others, freedom) == pytest.approx(expected, abs=1e-3)


def test_dunnett_of_a_single_method_is_the_paired_t_test() -> None:
    scores = np.random.default_rng(0).normal([[0.0], [1.5]], size=(2, 5))
    expected = stats.ttest_rel(scores[1], scores[0])
    differences, half_widths, p = to_first(scores)
    assert p == pytest.approx([expected.pvalue], rel=1e-4)
    low, high = expected.confidence_interval(0.95)
    assert [differences[0] - half_widths[0], differences[0] + half_widths[0]] == pytest.approx([low, high], rel=1e-4)


def test_seed_interval_is_that_of_t() -> None:
    values = [61.2, 63.0, 60.1, 62.4]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = seed_interval([np.std(values, ddof=1), np.nan], [4, 1])
    assert found[0] == pytest.approx((high - low) / 2)
    assert np.isnan(found[1])


def test_image_error_is_that_of_a_bootstrap_within_classes() -> None:
    generator = np.random.default_rng(0)
    hits, totals = np.array([90, 25, 5]), np.array([100, 50, 25])
    drawn = np.zeros((20_000, 3))
    for c in range(3):
        correct = np.arange(totals[c]) < hits[c]
        drawn[:, c] = generator.choice(correct, size=(20_000, totals[c])).mean(axis=1)
    accuracies = 100 * drawn.mean(axis=1)
    assert image_error(hits, totals) == pytest.approx(accuracies.std(), rel=0.02)
    low, high = np.quantile(accuracies, [0.025, 0.975])
    assert 1.96 * image_error(hits, totals) == pytest.approx((high - low) / 2, rel=0.03)


def test_metrics_of_hits() -> None:
    hits, totals = [[8, 1, 0, 0], [5, 2, 0, 2]], [10, 4, 0, 2]  # no image of the third class
    assert worst_class(hits, totals) == pytest.approx([0, 50])
    assert harmonic_mean(hits, totals) == pytest.approx([300 / (1 / 0.8 + 1 / 0.25 + 1000), stats.hmean([50, 50, 100])])


def test_shifted_accuracy_is_what_drawing_the_test_set_gives() -> None:
    generator = np.random.default_rng(0)
    hits, totals, kept = np.array([30, 10, 8]), np.array([40, 40, 10]), np.array([40, 20, 10])
    drawn = [generator.hypergeometric(hits, totals - hits, kept).sum() / kept.sum() for _ in range(20_000)]
    assert shifted_accuracy(hits, totals, kept) == pytest.approx(100 * np.mean(drawn), rel=0.003)
    assert shifted_accuracy([3, 0], [4, 0], [1, 1]) == pytest.approx(75)


def correlated(generator: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """Scores [6, seeds] of methods that are equally good; a seed shifts them all."""
    return generator.normal(60, 1, size=(6, seeds)) + generator.normal(0, 5, size=seeds)


def independent(generator: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    return generator.normal(60, 1, size=(6, seeds))


@pytest.mark.parametrize("draw", [correlated, independent])
@pytest.mark.parametrize("seeds", [3, 5])
def test_differences_of_pure_noise_are_rarely_claimed(draw: Draw, seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    to_best = to_ce = 0
    for _ in range(REPETITIONS):
        scores = draw(generator, seeds)
        to_best += (against_best(scores)[1] < 0.05).any()
        to_ce += (to_first(scores)[2] < 0.05).any()
    print(f"claimed of {REPETITIONS}: {to_best} to the best, {to_ce} to the control")
    assert 0.03 * REPETITIONS < to_best <= AT_MOST
    assert 0.03 * REPETITIONS < to_ce <= AT_MOST


def test_variances_are_drawn_towards_what_is_usual() -> None:
    generator = np.random.default_rng(0)
    methods, seeds, prior, usual = 3000, 5, 6.0, 2.0
    true = prior * usual / generator.chisquare(prior, size=methods)
    scores = generator.normal(60, np.sqrt(true)[:, None], size=(methods, seeds)) + generator.normal(0, 3, size=seeds)
    noise, freedom = block_noise(scores)
    own = (scores - scores.mean(axis=0)).var(axis=1, ddof=1)
    literal = (prior * usual + (seeds - 1) * own) / (prior + seeds - 1) / seeds
    assert freedom in (9, 10, 11)
    assert noise == pytest.approx(literal, rel=0.1)


def test_where_noise_is_equal_it_is_pooled() -> None:
    scores = np.array([[1.0, 2.0, 4.0], [1.0, 4.0, 2.0], [4.0, 1.0, 2.0]])
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    noise, freedom = block_noise(scores)
    assert freedom == 4
    assert noise == pytest.approx([(residuals**2).sum() / 4 / 3] * 3)


def pooled_noise(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """What ``block_noise`` would be if all methods were equally noisy."""
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    methods, seeds = scores.shape
    freedom = (methods - 1) * (seeds - 1)
    return np.full(methods, (residuals**2).sum() / freedom / seeds), freedom


@pytest.mark.parametrize(("seeds", "of_control", "most"), [(3, 1, 120), (5, 1, 90), (3, 3, 250)])
def test_unequal_noise_costs_less_than_with_pooled_variances(
    monkeypatch: pytest.MonkeyPatch, seeds: int, of_control: float, most: int
) -> None:
    claims = []
    for noise in (block_noise, pooled_noise):
        monkeypatch.setattr("ltbench.results.statistics.block_noise", noise)
        generator = np.random.default_rng(0)
        to_best = to_ce = 0
        for _ in range(1000):
            spread = 1.6 if of_control == 1 else 1.0
            deviations = spread ** generator.normal(size=(15, 1))
            deviations[0] *= of_control
            scores = generator.normal(60, deviations, size=(15, seeds)) + generator.normal(0, 3, size=seeds)
            to_best += (against_best(scores)[1] < 0.05).any()
            to_ce += (to_first(scores)[2] < 0.05).any()
        claims.append((to_best, to_ce))
    print(f"claimed of 1000 (to the best, to the control): moderated {claims[0]}, pooled {claims[1]}")
    assert max(claims[0]) <= most
    assert claims[0][0] < claims[1][0]
    assert claims[0][1] < claims[1][1]


def test_differences_of_single_runs_of_equal_methods_are_rarely_claimed() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    to_best = to_ce = 0
    for _ in range(REPETITIONS):
        difficulty = generator.uniform(size=100)  # what one method gets right the others tend to get right too
        correct = generator.uniform(size=(5, 100)) < difficulty
        scores = 100 * np.stack([correct[:, labels == c].mean(axis=1) for c in range(3)]).mean(axis=0)
        best = int(scores.argmax())
        for to, comparisons in ((best, 10), (0, 4)):
            p = bonferroni(scores - scores[to], *paired_image_error(correct, labels, to), comparisons)[1]
            to_best += to == best and comparisons == 10 and (p < 0.05).any()
            to_ce += comparisons == 4 and (p < 0.05).any()
    print(f"claimed of {REPETITIONS}: {to_best} to the best, {to_ce} to the control")
    assert to_best <= AT_MOST
    assert to_ce <= AT_MOST


def test_equal_classes_make_it_mcnemars_test() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 50)
    correct = generator.uniform(size=(2, 500)) < [[0.60], [0.68]]
    b, c = (correct[1] & ~correct[0]).sum(), (correct[0] & ~correct[1]).sum()
    error, correction = paired_image_error(correct, labels, to=0)
    difference = 100 * (correct[1].mean() - correct[0].mean())
    p = bonferroni(np.array([difference]), error[1:], correction[1:], 1)[1]
    edwards = (abs(b - c) - 1) ** 2 / (b + c)
    assert p == pytest.approx([stats.chi2.sf(edwards, 1)])
    assert p == pytest.approx([stats.binomtest(b, b + c).pvalue], abs=0.003)  # the exact test


def test_unequal_classes_against_swapping_the_methods_image_by_image() -> None:
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [200, 100, 50])
    correct = generator.uniform(size=(2, 350)) < [[0.50], [0.60]]
    weights = 100 / 3 / np.bincount(labels)[labels]
    signed = (correct[1].astype(float) - correct[0]) * weights
    flipped = np.abs((generator.choice([-1, 1], size=(50_000, 350)) * signed).sum(axis=1))
    error, correction = paired_image_error(correct, labels, to=0)
    found = bonferroni(np.array([signed.sum()]), error[1:], correction[1:], 1)[1]
    exact = (flipped >= abs(signed.sum()) - 1e-9).mean()
    assert exact <= found[0] <= exact + 0.06  # the correction is that of the heaviest image


def test_an_interval_leaves_out_zero_just_where_a_difference_is_claimed() -> None:
    differences, errors, corrections = np.linspace(-6, 6, 25), np.full(25, 1.5), np.full(25, 0.2)
    half_widths, p = bonferroni(differences, errors, corrections, 7)
    assert ((np.abs(differences) > half_widths) == (p < 0.05)).all()
    scores = np.random.default_rng(2).normal(size=(30, 4)) + np.linspace(0, 4, 30)[:, None]
    differences, half_widths, p = to_first(scores)
    assert ((np.abs(differences) > half_widths) == (p < 0.05)).all()
    assert 0 < (p < 0.05).sum() < 29


def test_real_differences_are_found_though_seeds_differ_more() -> None:
    generator = np.random.default_rng(1)
    seeds = generator.normal(0, 5, size=3)
    scores = np.array([[60.0], [60.2], [50.0]]) + seeds + generator.normal(0, 0.5, size=(3, 3))
    assert (against_best(scores)[1] >= 0.05).tolist() == [True, True, False]


def test_equal_runs_are_equal_and_without_noise_every_difference_is_one() -> None:
    differences, p = against_best(np.array([[60.0, 61.0], [60.0, 61.0], [50.0, 51.0]]))
    assert differences.tolist() == [0, 0, -10]
    assert p == pytest.approx([1, 1, 0], abs=1e-6)
    assert against_best(np.array([[1.0, 2.0]]))[1].tolist() == [1]
    right = np.ones((2, 4), bool)
    assert bonferroni(np.zeros(2), *paired_image_error(right, np.array([0, 0, 1, 1]), 0), 1)[1].tolist() == [1, 1]
