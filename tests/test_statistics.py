import numpy as np
import pytest
from scipy import stats

from ltbench.statistics import image_error, seed_interval, tied_by_images, tied_with_best, tukey_quantile


@pytest.mark.parametrize(("groups", "freedom"), [(2, 1), (2, 2), (3, 4), (6, 10), (12, 22), (40, 400)])
def test_quantile_of_the_studentized_range(groups: int, freedom: int) -> None:
    assert tukey_quantile(groups, freedom) == pytest.approx(
        stats.studentized_range.ppf(0.95, groups, freedom), rel=1e-5
    )


def test_seed_interval_is_that_of_t() -> None:
    values = [61.2, 63.0, 60.1, 62.4]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = seed_interval([np.std(values, ddof=1), np.nan], [4, 1])
    assert found[0] == pytest.approx((high - low) / 2)
    assert np.isnan(found[1])


def test_image_error_against_drawing_test_sets() -> None:
    generator = np.random.default_rng(0)
    recall, totals = np.array([0.9, 0.5, 0.2]), np.array([100, 50, 25])
    drawn = generator.binomial(totals, recall, size=(20_000, 3)) / totals
    expected = 100 * drawn.mean(axis=1).std()
    assert image_error([90, 25, 5], totals.tolist()) == pytest.approx(expected, rel=0.02)


def test_differences_of_pure_noise_are_rarely_claimed() -> None:
    generator = np.random.default_rng(0)
    claims = 0
    for _ in range(2000):
        scores = generator.normal(60, 1, size=(6, 3)) + generator.normal(0, 5, size=3)  # a seed shifts all methods
        claims += not tied_with_best(scores).all()
    assert claims <= 0.065 * 2000  # 5 % and three standard errors of the simulation


def test_real_differences_are_found_though_seeds_differ_more() -> None:
    generator = np.random.default_rng(1)
    seeds = generator.normal(0, 5, size=3)
    scores = np.array([[60.0], [60.2], [50.0]]) + seeds + generator.normal(0, 0.5, size=(3, 3))
    assert tied_with_best(scores).tolist() == [True, True, False]


def test_the_only_method_is_the_best() -> None:
    assert tied_with_best(np.array([[1.0, 2.0]])).tolist() == [True]
    assert tied_by_images(np.array([50.0]), np.array([1.0])).tolist() == [True]


def test_one_seed_is_judged_by_its_test_images() -> None:
    tied = tied_by_images(np.array([60.0, 59.0, 40.0]), np.array([1.0, 1.0, 1.0]))
    assert tied.tolist() == [True, True, False]
