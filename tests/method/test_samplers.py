import numpy as np
import pytest

from ltbench.method.samplers import (
    Again,
    Augmented,
    Pool,
    Sampler,
    augment_of,
    balances,
    class_balanced,
    deferred,
    effective_number_balanced,
    frequency_power,
    instance_balanced,
    progressively_balanced,
)

LABELS = np.array([2, 0, 0, 1, 0, 2, 0, 0])


@pytest.fixture
def pool() -> Pool:
    return Pool.of(LABELS, 3)


def test_the_pool_knows_where_each_class_is(pool: Pool) -> None:
    for c in range(3):
        members = pool.by_class[pool.starts[c] : pool.starts[c] + pool.counts[c]]
        assert sorted(members) == np.flatnonzero(LABELS == c).tolist()


def test_instance_balanced_sees_every_image_once(pool: Pool) -> None:
    drawn = instance_balanced(pool, 8, 0.0, np.random.default_rng(0))
    assert sorted(drawn) == list(range(8))
    assert len(instance_balanced(pool, 20, 0.0, np.random.default_rng(0))) == 20


def test_class_balanced_draws_classes_and_their_images_uniformly(pool: Pool) -> None:
    drawn = class_balanced(pool, 30_000, 0.0, np.random.default_rng(0))
    by_image = np.bincount(drawn, minlength=8) / 30_000
    expected = [1 / 3 / np.sum(LABELS == label) for label in LABELS]
    assert by_image == pytest.approx(expected, abs=0.01)


# frequencies; 60,000 draws find a share of a third to 0.002 (one standard deviation), so 0.008 holds for any seed

POOL = Pool.of(np.repeat([0, 1, 2, 3], [400, 100, 25, 1]), 4)
DRAWS = 60_000


def frequencies(sampler: Sampler, progress: float = 0.0, pool: Pool = POOL) -> list[float]:
    """The share of each class among the draws."""
    drawn = sampler(pool, DRAWS, progress, np.random.default_rng(0))
    assert drawn.shape == (DRAWS,)
    ends = np.cumsum(pool.counts)
    return (np.bincount(np.searchsorted(ends, drawn, side="right"), minlength=4) / DRAWS).tolist()


def proportional_to(weights: list[float]) -> list[float]:
    return [w / sum(weights) for w in weights]


@pytest.mark.parametrize("q", [-1.0, 0.0, 0.5, 1.0])
def test_frequency_power_draws_a_class_as_often_as_its_size_to_that_power(q: float) -> None:
    expected = proportional_to([n**q for n in (400, 100, 25, 1)])
    assert frequencies(frequency_power(q)) == pytest.approx(expected, abs=0.008)


def test_power_0_is_class_balance_and_power_1_is_nature() -> None:
    assert frequencies(frequency_power(0)) == pytest.approx(frequencies(class_balanced), abs=0.008)
    assert frequencies(frequency_power(1)) == pytest.approx(frequencies(instance_balanced), abs=0.008)


def test_power_minus_1_favours_the_rarest_as_much_as_nature_the_most_frequent() -> None:
    """Equation of BBN: the weight of class j is n_max / n_j."""
    expected = proportional_to([400 / n for n in (400, 100, 25, 1)])
    assert frequencies(frequency_power(-1)) == pytest.approx(expected, abs=0.008)


def test_images_of_a_class_are_drawn_uniformly() -> None:
    drawn = frequency_power(-1)(POOL, DRAWS, 0.0, np.random.default_rng(0))
    third = np.bincount(drawn, minlength=526)[500:525]
    assert third / third.sum() == pytest.approx([1 / 25] * 25, abs=0.02)


@pytest.mark.parametrize(("progress", "power"), [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (1.0, 1.0), (1.0, 0.5)])
def test_progressively_balanced_goes_from_nature_to_balance(progress: float, power: float) -> None:
    t = progress**power
    expected = [(1 - t) * n / 526 + t / 4 for n in (400, 100, 25, 1)]
    assert frequencies(progressively_balanced(power), progress) == pytest.approx(expected, abs=0.008)


def test_deferred_is_ordinary_shuffling_before_and_the_other_sampler_from_then_on() -> None:
    sampler = deferred(frequency_power(-1), 0.8)
    for progress, like in ((0.0, instance_balanced), (0.79, instance_balanced), (0.8, frequency_power(-1))):
        expected = like(POOL, 526, progress, np.random.default_rng(3))
        assert np.array_equal(sampler(POOL, 526, progress, np.random.default_rng(3)), expected)


def test_which_samplers_balance() -> None:
    even = (class_balanced, frequency_power(0), frequency_power(0.5), frequency_power(-1), progressively_balanced())
    assert all(balances(sampler) for sampler in (*even, deferred(class_balanced, 0.8)))
    assert not any(balances(sampler) for sampler in (instance_balanced, frequency_power(1), Again("main")))
    assert not balances(deferred(instance_balanced, 0.8))


def test_images_are_drawn_by_the_inverse_effective_number_of_their_class() -> None:
    """Each image has the weight (1 - beta) / (1 - beta ** n) of its class, as in the code of Cao et al."""
    for beta in (0.9999, 0.99):
        expected = proportional_to([n * (1 - beta) / (1 - beta**n) for n in POOL.counts.tolist()])
        assert frequencies(effective_number_balanced(beta)) == pytest.approx(expected, abs=0.008)
    assert balances(effective_number_balanced(0.9999))


def test_an_augmented_sampler_draws_what_the_sampler_draws() -> None:
    stream = Augmented(class_balanced, "cutout")
    drawn = [sampler(POOL, 50, 0.0, np.random.default_rng(3)).tolist() for sampler in (stream, class_balanced)]
    assert drawn[0] == drawn[1]
    assert balances(stream)
    asked = [augment_of(one) for one in (stream, Again("a", "none"), Again("a"), class_balanced)]
    assert asked == ["cutout", "none", None, None]
