"""The published counts and the canonical subset, image for image."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from ltbench.data import ImageSet, Imbalance, Split, class_counts, cut
from ltbench.data.longtail import hold_out, select
from ltbench.errors import InputError

TOTALS = {  # imbalance: (CIFAR-10 exp, CIFAR-100 exp, CIFAR-10 step, CIFAR-100 step)
    1: (50_000, 50_000, 50_000, 50_000),
    10: (20_431, 19_573, 27_500, 27_500),
    20: (17_023, 15_907, 26_250, 26_250),
    50: (13_996, 12_608, 25_500, 25_500),
    100: (12_406, 10_847, 25_250, 25_250),
    200: (11_203, 9_502, 25_125, 25_100),
    500: (10_011, 8_155, 25_050, 25_050),
}
CIFAR10_COUNTS = {
    10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
    20: [5000, 3584, 2569, 1842, 1320, 946, 678, 486, 348, 250],
    50: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    200: [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25],
}
SUBSETS = {  # (classes, imbalance): SHA-256 over the selected within-class ranks
    (10, 10): "2b3a8656bec514c6",
    (10, 100): "8a54f5b6fa972295",
    (100, 10): "5906ba7310b91b5e",
    (100, 100): "f123ec136d44ab1b",
}


@pytest.mark.parametrize("factor", TOTALS)
def test_totals_of_the_literature(factor: int) -> None:
    available = {10: [5000] * 10, 100: [500] * 100}
    found = [sum(class_counts(available[c], Imbalance(p, factor))) for p in ("exp", "step") for c in (10, 100)]
    assert tuple(found) == TOTALS[factor]


@pytest.mark.parametrize("factor", CIFAR10_COUNTS)
def test_counts_of_cifar10(factor: int) -> None:
    assert class_counts([5000] * 10, Imbalance("exp", factor)) == CIFAR10_COUNTS[factor]


@pytest.mark.parametrize(("classes", "factor"), SUBSETS)
def test_canonical_subset(classes: int, factor: int) -> None:
    n_max = 50_000 // classes
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(classes), n_max))  # any file order
    counts = class_counts([n_max] * classes, Imbalance("exp", factor))
    chosen = select(labels, counts, subset_seed=0)
    rank_in_class = np.empty(len(labels), np.int64)
    for c in range(classes):
        rank_in_class[labels == c] = np.arange(n_max)
    ranks = rank_in_class[chosen]
    assert labels[chosen].tolist() == np.repeat(np.arange(classes), counts).tolist()
    assert hashlib.sha256(ranks.astype("<i8").tobytes()).hexdigest()[:16] == SUBSETS[classes, factor]
    first = {10: [398, 3833, 4836, 4572, 636], 100: [90, 254, 283, 445, 461]}
    assert ranks[:5].tolist() == first[classes]


def test_another_subset_seed_keeps_other_images_of_the_same_number() -> None:
    labels = np.repeat(np.arange(10), 100)
    counts = class_counts([100] * 10, Imbalance("exp", 20))
    canonical, other = select(labels, counts, 0), select(labels, counts, 1)
    assert len(canonical) == len(other) == len(set(other.tolist()))
    assert set(canonical.tolist()) != set(other.tolist())


def test_unequal_classes_get_the_largest_head_that_keeps_the_ratio() -> None:
    assert class_counts([50, 40, 5], Imbalance("exp", 4)) == [20, 10, 5]
    assert class_counts([50, 40, 5], Imbalance("natural")) == [50, 40, 5]


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"leaves class 7 without an image.*at most 120"):
        class_counts([120] * 10, Imbalance("exp", 500))


@pytest.mark.parametrize("text", ["0.5", "0", "exp:0.9"])
def test_an_imbalance_below_one_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="below 1"):
        Imbalance.parse(text)


@pytest.mark.parametrize("text", ["many", "expo:10", "-3", ""])
def test_what_is_no_imbalance_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not understood"):
        Imbalance.parse(text)


def test_imbalance_reads_what_it_writes() -> None:
    for text in ("100", "step:10", "natural", "2.5"):
        assert str(Imbalance.parse(text)) == text
    assert Imbalance.parse(10, "step") == Imbalance("step", 10)


def _cifar100_like() -> ImageSet:
    labels = np.repeat(np.arange(100), 500)
    images = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2, 1)  # each image is its index
    return ImageSet("like", tuple(map(str, range(100))), Split(images, labels), Split(images[:100], labels[::500]))


def test_validation_is_held_out_before_the_tail_is_cut() -> None:
    images = _cifar100_like()
    data = cut(images, Imbalance("exp", 100), holdout=25)
    assert data.val is not None
    assert data.val.counts(100) == [25] * 100
    assert data.counts[0] == 475
    assert data.counts == tuple(class_counts([475] * 100, Imbalance("exp", 100)))
    held = {image.tobytes() for image in data.val.images}
    assert held.isdisjoint(image.tobytes() for image in data.train.images)


def test_without_holdout_there_is_no_validation_and_nothing_else_changes() -> None:
    images = _cifar100_like()
    data = cut(images, Imbalance("exp", 100))
    assert data.val is None
    assert sum(data.counts) == len(data.train) == 10_847
    assert data.test is images.test


def test_a_holdout_that_empties_a_class_is_refused() -> None:
    with pytest.raises(InputError, match="holdout of 3"):
        hold_out(np.array([0, 0, 0, 0, 1, 1]), 3, subset_seed=0)


def test_normalisation_comes_from_the_training_images_unless_the_literature_gives_it() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(40, 4, 4, 3), dtype=np.uint8)
    labels = np.repeat([0, 1], 20)
    data = cut(ImageSet("x", ("a", "b"), Split(images, labels), Split(images, labels)), Imbalance("exp", 5))
    kept = data.train.images.reshape(-1, 3) / 255
    assert np.allclose(data.mean, kept.mean(axis=0))
    assert np.allclose(data.std, kept.std(axis=0))


def test_classes_keep_their_names_and_are_numbered_where_there_are_none() -> None:
    images = Split(np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 0, 1, 1]))
    data = cut(ImageSet("x", ("airplane", "truck"), images, images), Imbalance("exp", 1))
    assert data.names == ("airplane", "truck")
    assert replace(data, classes=()).names == ("0", "1")


def test_fingerprint_depends_on_every_pixel_and_label() -> None:
    images = _cifar100_like()

    def changed(at: int, of: str) -> str:
        pixels, labels = images.train.images.copy(), images.train.labels.copy()
        if of == "pixel":
            pixels[at, 0, 0, 0] ^= 1
        else:
            labels[at] = (labels[at] + 1) % 100
        return ImageSet("like", images.classes, Split(pixels, labels), images.test).fingerprint

    same = ImageSet("other name", images.classes, Split(images.train.images, images.train.labels), images.test)
    found = [images.fingerprint, changed(0, "pixel"), changed(49_999, "pixel"), changed(7, "label")]
    assert same.fingerprint == images.fingerprint
    assert len(set(found)) == 4
