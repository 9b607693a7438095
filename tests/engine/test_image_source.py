"""The same batches, and so the same results, wherever images lie."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from ltbench import Method, Stage
from ltbench.check.pretended import CUDA, Device
from ltbench.data import Imbalance, LongTailed, cut, folder, load
from ltbench.engine import epoch_plan
from ltbench.engine.augment import augmentations
from ltbench.engine.image_source import Place, place_of, source_of
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.errors import InputError
from ltbench.plan.recipe import RECIPES, Recipe
from tests.engine.test_engine import CPU, Memory, same

GB = 10**9
PLACES: tuple[Place, ...] = get_args(Place)
PADDED = RECIPES["digits"].changed({"epochs": 2, "evaluate_every": 1, "crop_padding": 2, "flip": True})
RESIZED = PADDED.changed({"crop_padding": 0, "resized_crop": 12, "jitter": 0.4})
STRONG = PADDED.changed({"augment": "autoaugment+cutout", "cutout_side": 8})
RANDOM = RESIZED.changed({"augment": "randaugment+cutout", "cutout_side": 6})
RECIPES_OF_CROPS = pytest.mark.parametrize(
    "recipe", [PADDED, RESIZED, STRONG, RANDOM], ids=["padded", "resized", "autoaugment", "randaugment"]
)


@pytest.fixture
def data(picture_folder: Callable[..., Path], tmp_path: Path) -> LongTailed:
    root = picture_folder({"a": 60, "b": 50, "c": 40}, size=(16, 16))
    return cut(folder.read(root, "pictures", None, tmp_path / "cache"), Imbalance("exp", 3), holdout=5)


def train(data: LongTailed, recipe: Recipe, place: Place, device: torch.device = CPU, tier: Any = "eager") -> State:
    task = Task.of(data, recipe, 0, device, tier=tier, images_in=place)
    assert task.images_in == place
    return train_stage(RunningStage(Method(), Stage(), 0, task), Memory())


# the size rule


@pytest.mark.parametrize(
    ("images", "device", "host", "place"),
    [
        (37 * GB, 139 * GB, 100 * GB, "device"),
        (37 * GB, 66 * GB, 100 * GB, "host"),
        (91 * GB, 80 * GB, 128 * GB, "file"),
        (91 * GB, 80 * GB, 131 * GB, "host"),
        (1 * GB, 8 * GB, 16 * GB, "device"),  # 30 GB are not to be had, and not needed
        (3 * GB, 8 * GB, 16 * GB, "host"),
        (10 * GB, None, 16 * GB, "device"),
        (12 * GB, None, 16 * GB, "file"),
    ],
)
def test_the_size_rule(images: int, device: int | None, host: int, place: Place) -> None:
    assert place_of(images, device, host) == place


def test_small_sets_go_to_the_device_and_only_folders_to_a_file() -> None:
    data = cut(load("digits"), Imbalance("exp", 20))
    assert Task.of(data, PADDED, 0, CPU).images_in == "device"
    assert Task.of(data, PADDED, 0, CPU, processes=10**9).images_in == "host"
    with pytest.raises(InputError, match="no packed file.*--images-in host"):
        Task.of(data, PADDED, 0, CPU, images_in="file")


# batches


@RECIPES_OF_CROPS
def test_batches_are_the_same_from_everywhere(data: LongTailed, recipe: Recipe) -> None:
    def batches(place: Place) -> list[torch.Tensor]:
        task = Task.of(data, recipe, 0, CPU, images_in=place)
        drawn = epoch_plan.draw(task.pool, Method.streams, len(data.train), 0.0, task.training.augmentations, (0,))
        task.training.begin(drawn, 32)
        return [part.clone() for columns in drawn.split(32, dim=2) for part in task.training.batch(columns.flatten(1))]

    wanted = batches("device")
    assert wanted[0].shape == (32, 12, 12, 3) if recipe.resized_crop else (32, 16, 16, 3)
    for place in ("host", "file"):
        assert all(torch.equal(*pair) for pair in zip(batches(place), wanted, strict=True))


def test_a_further_augmentation_does_not_change_the_draws_of_those_before_it(data: LongTailed) -> None:
    task = Task.of(data, PADDED, 0, CPU)
    crop, jitter = augmentations(PADDED.changed({"jitter": 0.4}), 16, 16)
    alone = epoch_plan.draw(task.pool, Method.streams, 20, 0.0, (crop,), (0,))
    assert alone.shape == (4, 1, 20)
    assert torch.equal(epoch_plan.draw(task.pool, Method.streams, 20, 0.0, (crop, jitter), (0,))[:4], alone)


@pytest.mark.parametrize("place", PLACES)
def test_an_epoch_that_was_broken_off_leaves_nothing_behind(data: LongTailed, place: Place) -> None:
    source = source_of(data.train, place, CPU)
    pixels = torch.from_numpy(data.train.pixels())
    for wanted in (torch.arange(40), torch.randperm(40)):
        source.announce(wanted.split(8))
        for index in wanted.split(8)[:3]:  # and no more
            assert torch.equal(source.take(index), pixels[index])


def test_runs_of_one_process_share_one_copy(data: LongTailed) -> None:
    one, other = (source_of(data.test, "device", CPU) for _ in range(2))
    assert one.pixels is other.pixels  # type: ignore[attr-defined]
    assert source_of(replace(data.test), "device", CPU).pixels is not one.pixels  # type: ignore[attr-defined]


def test_a_file_that_became_shorter_is_named(data: LongTailed) -> None:
    source = source_of(data.train, "file", CPU)
    path = Path(data.train.images.filename)  # type: ignore[attr-defined]
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    source.announce([torch.arange(len(data.train))])
    with pytest.raises(InputError, match=r"image cache .* was cut short"):
        source.take(torch.arange(len(data.train)))
    path.write_bytes(whole)


# training


@RECIPES_OF_CROPS
def test_training_gives_the_same_numbers_from_everywhere(data: LongTailed, recipe: Recipe) -> None:
    wanted = train(data, recipe, "device")
    assert wanted["logits"]["val"].shape == (15, 3)
    for place in ("host", "file"):
        found = train(data, recipe, place)
        assert same(found, wanted)


def test_images_off_the_device_are_not_captured(data: LongTailed) -> None:
    found = train(data, RESIZED, "host", tier="graph")
    assert (found["tier"], found["tier_reason"]) == ("eager", "images are not on the device")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resized_crops_train_in_every_precision(data: LongTailed, precision: str) -> None:
    recipe = RESIZED.changed({"precision": precision, "epochs": 4, "jitter": 0.1})
    state = train(data, recipe, "file")
    assert state["losses"][-1] < state["losses"][0]


@pytest.mark.slow
def test_twenty_thousand_images_train_from_everywhere(tmp_path: Path) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(20_000):
        at = tmp_path / "many" / str(number % 20)
        at.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(at / f"{number}.jpg")
    images = folder.read(tmp_path / "many", "many", None, tmp_path / "cache")
    many = cut(images, Imbalance("exp", 10))
    recipe = RESIZED.changed({"epochs": 1, "batch_size": 256, "resized_crop": 16, "backbone": "resnet8_cifar"})
    wanted = train(many, recipe, "device")
    assert all(same(train(many, recipe, place), wanted) for place in ("host", "file"))


@RECIPES_OF_CROPS
def test_a_gpu_is_fed_the_same_batches_from_everywhere(gpu: Device | None, data: LongTailed, recipe: Recipe) -> None:
    wanted = train(data, recipe, "device", CUDA)
    for place in ("host", "file"):
        assert train(data, recipe, place, CUDA)["losses"] == wanted["losses"]


@pytest.mark.parametrize("recipe", [RESIZED, STRONG, RANDOM], ids=["resized", "autoaugment", "randaugment"])
def test_augmentations_are_captured(gpu: Device | None, data: LongTailed, recipe: Recipe) -> None:
    recipe = recipe.changed({"precision": "fp32-strict"})
    eager, graph = (train(data, recipe, "device", CUDA, tier) for tier in ("eager", "graph"))
    assert (graph["tier"], graph["tier_reason"]) == ("graph", "")
    assert graph["losses"] == pytest.approx(eager["losses"], rel=1e-3)
