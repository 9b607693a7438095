"""AutoAugment, RandAugment and Cutout: what is drawn, and how often."""

import hashlib
import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from torchvision import transforms

from ltbench import instance_balanced
from ltbench.engine import epoch_plan
from ltbench.engine.augment import augmentations
from ltbench.engine.augment.autoaugment import AutoAugment
from ltbench.engine.augment.cutout import Cutout
from ltbench.engine.augment.kinds import FACTORS, NAMES
from ltbench.engine.augment.randaugment import RandAugment
from ltbench.method.samplers import Pool
from ltbench.plan.recipe import RECIPES

DRAWS = 200_000
HEIGHT, WIDTH = 20, 32
Drawn = tuple[tuple[str, float], ...]


def outcomes(space: dict[str, tuple[torch.Tensor, bool]], name: str, level: int) -> dict[tuple[str, float], float]:
    """Operation and argument with their probabilities, from a table of torchvision."""
    values, both_ways = space[name]
    value = float(values[level]) if values.ndim else 0.0
    value = float(int(value)) if name.startswith("Translate") else value
    found: Counter[tuple[str, float]] = Counter()
    for sign in (-1, 1):
        argument = sign * value if both_ways else value
        found[name, round(argument + (name in FACTORS), 3) + 0.0] += 1 / 2  # + 0.0 removes the sign of zero
    return dict(found)


def counted(rows: np.ndarray) -> Counter[Drawn]:
    """How often each sequence of operations was drawn."""
    names = [[NAMES[number] for number in row] for row in rows[::2]]
    values = [(row.view(np.float64).round(3) + 0.0).tolist() for row in rows[1::2]]
    pairs = [zip(*both, strict=True) for both in zip(names, values, strict=True)]
    return Counter(zip(*pairs, strict=True))


def assert_as_likely(found: Counter[Drawn], wanted: dict[Drawn, float]) -> None:
    assert sum(wanted.values()) == pytest.approx(1)
    assert set(found) <= {drawn for drawn, probability in wanted.items() if probability}
    for drawn, probability in wanted.items():
        standard_error = math.sqrt(DRAWS * probability * (1 - probability))
        assert abs(found[drawn] - DRAWS * probability) <= 5 * standard_error + 1e-9, drawn


def test_autoaugment_draws_the_sub_policies_of_cifar10() -> None:
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    space = theirs._augmentation_space(10, (HEIGHT, WIDTH))
    wanted: Counter[Drawn] = Counter()
    for pair in theirs.policies:
        each = [
            {("Identity", 0.0): 1 - likely} | {key: likely * p for key, p in outcomes(space, name, level or 0).items()}
            for name, likely, level in pair
        ]
        for (first, p), (second, q) in product(*(one.items() for one in each)):
            wanted[first, second] += p * q / len(theirs.policies)
    found = counted(AutoAugment(HEIGHT, WIDTH).draw(DRAWS, np.random.default_rng(0)))
    assert_as_likely(found, wanted)


@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_randaugment_draws_every_operation_equally_often(magnitude: int) -> None:
    space = transforms.RandAugment()._augmentation_space(31, (HEIGHT, WIDTH))
    each: Counter[tuple[str, float]] = Counter()
    for name in space:
        each.update({key: p / len(space) for key, p in outcomes(space, name, magnitude).items()})
    wanted = {(first, second): each[first] * each[second] for first, second in product(each, repeat=2)}
    drawn = RandAugment(2, magnitude, HEIGHT, WIDTH).draw(DRAWS, np.random.default_rng(0))
    assert_as_likely(counted(drawn), wanted)


@pytest.mark.parametrize("operations", [1, 3])
def test_randaugment_has_as_many_operations_as_it_should(operations: int) -> None:
    augmentation = RandAugment(operations, 9, HEIGHT, WIDTH)
    drawn = augmentation.draw(1000, np.random.default_rng(0))
    assert drawn.shape == (augmentation.rows, 1000) == (2 * operations, 1000)
    assert all(set(row.tolist()) == set(range(len(NAMES) - 1)) for row in drawn[::2])


@pytest.mark.parametrize("side", [1, 5, 16, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_cutout_blackens_a_square_around_a_random_pixel(side: int, channels: int) -> None:
    augmentation = Cutout(side, HEIGHT, WIDTH)
    drawn = augmentation.draw(50, np.random.default_rng(0))
    pixels = torch.from_numpy(np.random.default_rng(1).integers(1, 256, (50, HEIGHT, WIDTH, channels), np.uint8))
    wanted = pixels.clone()
    for image, (row, column) in zip(wanted, drawn.T.tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
    assert torch.equal(augmentation.apply(pixels, torch.from_numpy(drawn)), wanted)


def test_every_pixel_is_the_centre_of_a_cutout_equally_often() -> None:
    row, column = Cutout(16, HEIGHT, WIDTH).draw(DRAWS, np.random.default_rng(0))
    counts = np.bincount(row * WIDTH + column, minlength=HEIGHT * WIDTH)
    expected = DRAWS / len(counts)
    assert len(counts) == HEIGHT * WIDTH
    assert abs(counts - expected).max() < 5 * math.sqrt(expected)


# recipes

POOL = Pool.of(np.repeat([0, 1], 15), 2)


def plan(**changes: object) -> torch.Tensor:
    used = augmentations(RECIPES["ldam"].changed(changes), 32, 32)
    return epoch_plan.draw(POOL, {"a": instance_balanced}, 30, 0.0, used, (0,))


def test_the_plan_of_the_default_recipe_is_what_it_was_without_strong_augmentations() -> None:
    digest = hashlib.sha256(plan().numpy().tobytes()).hexdigest()
    assert digest == "73f50f11b434f86f481af027b0ef674884383a2bbd8143585bc885a1ec6618a9"
    usual = [recipe for name, recipe in RECIPES.items() if name not in ("F3", "F4")]
    assert {type(one).__name__ for recipe in usual for one in augmentations(recipe, 256, 256)} == {
        "PaddedCrop",
        "ResizedCrop",
        "Jitter",
    }


@pytest.mark.parametrize(
    ("augment", "rows"),
    [
        ("none", 0),
        ("autoaugment", 4),
        ("randaugment", 6),
        ("cutout", 2),
        ("autoaugment+cutout", 6),
        ("randaugment+cutout", 8),
    ],
)
def test_strong_augmentations_follow_the_others_in_the_plan(augment: str, rows: int) -> None:
    changes = {"randaugment_operations": 3} if "randaugment" in augment else {}
    found = plan(augment=augment, **changes)
    assert len(found) == 4 + rows
    assert torch.equal(found[:4], plan())


def test_strong_augmentations_change_images_of_the_size_of_the_crop() -> None:
    recipe = RECIPES["imagenet-lt"].changed({"augment": "randaugment+cutout", "randaugment_magnitude": 30})
    *_, randaugment, cutout = augmentations(recipe, 256, 256)
    assert isinstance(cutout, Cutout) and (cutout.height, cutout.width) == (224, 224)
    assert isinstance(randaugment, RandAugment)
    assert randaugment.arguments[1, NAMES.index("TranslateX")] == 101  # 150 / 331 of 224, rounded down
