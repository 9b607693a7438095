import math

import numpy as np
import pytest
from scipy import stats

from ltbench.results.statistics import (
    harmonic_mean,
    image_error,
    moderated,
    seed_interval,
    shifted_accuracy,
    tukey_critical,
    tukey_p,
    worst_class,
)

GROUPS_AND_FREEDOM = [(2, 1), (2, 2), (3, 4), (6, 10), (12, 22), (40, 400)]


@pytest.mark.parametrize(("groups", "freedom"), GROUPS_AND_FREEDOM)
def test_the_studentized_range_is_that_of_scipy(groups: int, freedom: int) -> None:
    q = np.array([[0.5, 1.0, 2.0], [3.5, 5.0, 20.0]])
    expected = stats.studentized_range.sf(q, groups, freedom)
    assert tukey_p(q, groups, freedom) == pytest.approx(expected, abs=2e-5)


def test_ranges_of_several_families_at_once() -> None:
    q, groups, freedom = np.array([3.0, 4.0, 5.0]), np.array([2, 7, 39]), np.array([2.5, 6.0, math.inf])
    expected = [stats.studentized_range.sf(*one) for one in zip(q, groups, [2.5, 6.0, 1e6], strict=True)]
    assert tukey_p(q, groups, freedom) == pytest.approx(expected, abs=3e-5)


def test_the_range_of_means_with_a_known_error() -> None:
    assert tukey_critical(5) == pytest.approx(stats.studentized_range.ppf(0.95, 5, 1e9), rel=1e-6)


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
    assert image_error(hits, totals) == pytest.approx(accuracies.std(), rel=0.04)
    low, high = np.quantile(accuracies, [0.025, 0.975])
    assert 1.96 * image_error(hits, totals) == pytest.approx((high - low) / 2, rel=0.05)


def test_intervals_over_images_hold_the_truth_where_classes_have_one_image() -> None:
    generator = np.random.default_rng(0)
    totals = np.array([1] * 40 + [3] * 20 + [30] * 40)
    for few, many in ((0.5, 0.5), (0.5, 0.95), (0.2, 0.9), (0.8, 0.6)):
        for alike in (1000.0, 2.0):  # recalls within the two groups: equal, or spread over 0 to 1
            typical = np.where(totals < 30, few, many)
            recalls = generator.beta(alike * typical, alike * (1 - typical), size=(2000, 100))
            hits = generator.binomial(totals, recalls)
            off = 100 * np.abs((hits / totals).mean(axis=1) - recalls.mean(axis=1))
            covered = (off <= 1.96 * image_error(hits, totals)).mean()
            print(f"recalls {few} and {many}, {'alike' if alike > 2 else 'spread'}: {covered:.1%} covered")
            assert covered > 0.93
            naive = np.sqrt((hits / totals * (1 - hits / totals) / totals).sum(axis=1))
            assert few != 0.5 or alike < 3 or (off <= 1.96 * naive).mean() < 0.8  # without pooling


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


def test_variances_are_drawn_towards_what_is_usual() -> None:
    generator = np.random.default_rng(0)
    methods, freedom, prior, usual = 3000, 4, 6.0, 2.0
    true = prior * usual / generator.chisquare(prior, size=methods)
    own = true * generator.chisquare(freedom, size=methods) / freedom
    found, of_found = moderated(own, np.full(methods, freedom))
    assert of_found == pytest.approx(np.full(methods, prior + freedom), rel=0.15)
    literal = (prior * usual + freedom * own) / (prior + freedom)
    assert found == pytest.approx(literal, rel=0.1)


def test_variances_that_look_equal_are_not_pooled() -> None:
    own = np.full(15, 2.0) * np.linspace(0.9, 1.1, 15)
    found, freedom = moderated(own, np.full(15, 2.0))
    assert (np.diff(found) > 0).all()
    assert freedom[0] < 10
    assert moderated([3.0], [4.0])[1] == [4.0]
