import numpy as np
import pytest

from ltbench.samplers import Pool, class_balanced, instance_balanced

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
