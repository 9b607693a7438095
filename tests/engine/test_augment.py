"""Every augmentation draws its own rows of the plan and reads them again."""

import numpy as np
import pytest
import torch

from ltbench import instance_balanced
from ltbench.engine import epoch_plan
from ltbench.engine.augment import Augmentation, augmentations
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.engine.batches import Resident, Streamed
from ltbench.engine.image_source import OnDevice
from ltbench.method.samplers import Pool
from ltbench.plan.recipe import RECIPES

PADDED = RECIPES["digits"].changed({"crop_padding": 2, "flip": True, "jitter": 0.4})
RESIZED = PADDED.changed({"crop_padding": 0, "resized_crop": 12})
STRONG = [PADDED.changed({"augment": name}) for name in ("autoaugment", "randaugment", "cutout")]
EVERY = [
    *augmentations(PADDED, 16, 20),
    *augmentations(RESIZED, 16, 20),
    *(augmentations(recipe, 16, 20)[-1] for recipe in STRONG),
]
POOL = Pool.of(np.repeat([0, 1], 15), 2)


def pictures(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(256, size=(n, 16, 20, 3), dtype=np.uint8))


class Inverted:
    """Inverts some images: an augmentation of somebody else."""

    rows = 1

    def draw(self, draws: int, random: np.random.Generator) -> np.ndarray:
        return random.integers(2, size=(1, draws))

    def apply(self, pixels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.where(rows[0].bool()[:, None, None, None], 255 - pixels, pixels)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda augmentation: type(augmentation).__name__)
def test_an_augmentation_reads_what_it_draws(augmentation: Augmentation) -> None:
    drawn = augmentation.draw(8, np.random.default_rng(0))
    assert drawn.shape == (augmentation.rows, 8)
    assert drawn.dtype == np.int64
    found = augmentation.apply(pictures(8), torch.from_numpy(drawn))
    assert (found.dtype, found.shape[0], found.shape[3]) == (torch.uint8, 8, 3)
    assert torch.equal(found, augmentation.apply(pictures(8), torch.from_numpy(drawn)))


@pytest.mark.parametrize("recipe", [PADDED, RESIZED], ids=["padded", "resized"])
def test_a_plan_is_split_into_what_was_drawn(recipe: object) -> None:
    used = augmentations(recipe, 16, 20)  # type: ignore[arg-type]
    plan = epoch_plan.draw(POOL, {"a": instance_balanced}, 30, 0.0, used, (0,))
    numbers = np.random.default_rng(2).normal(size=(2, 30))
    index, rows, noise = epoch_plan.split(epoch_plan.with_noise(plan, lambda n, _: numbers, (0,)), used)
    assert sorted(index[0].tolist()) == list(range(30))
    assert [len(own) for own in rows] == [augmentation.rows for augmentation in used]
    assert torch.equal(torch.cat([index[None], *rows]), plan)
    assert torch.equal(epoch_plan.noise_of(noise.flatten(1), 1), torch.from_numpy(numbers).float())


def test_images_on_the_device_give_the_crops_of_those_that_arrive() -> None:
    pixels, labels = pictures(30), torch.arange(30)
    crop, *others = augmentations(PADDED, 16, 20)
    assert isinstance(crop, PaddedCrop)
    plan = epoch_plan.draw(POOL, {"a": instance_balanced}, 30, 0.0, (crop, *others), (0,)).flatten(1)
    resident, streamed = (
        Resident(pixels, labels, crop, others).batch(plan),
        Streamed(OnDevice(pixels), labels, (crop, *others)).batch(plan),
    )
    assert all(torch.equal(*pair) for pair in zip(resident, streamed, strict=True))


def test_a_further_augmentation_needs_no_other_file() -> None:
    pixels, labels = pictures(30), torch.arange(30)
    crop, further = PaddedCrop(2, flip=True), Inverted()
    used: tuple[Augmentation, ...] = (crop, further)
    plan = epoch_plan.draw(POOL, {"a": instance_balanced}, 30, 0.0, used, (0,)).flatten(1)
    plain, _ = Resident(pixels, labels, crop, ()).batch(plan)
    found, _ = Resident(pixels, labels, crop, (further,)).batch(plan)
    assert torch.equal(found, further.apply(plain, plan[-1:]))
    assert not torch.equal(found, plain)
