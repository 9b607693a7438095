"""Streams that are augmented in another way than the recipe's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ltbench import Again, Augmented, Batch, InputError, Method, Stage, class_balanced, instance_balanced
from ltbench.check.pretended import CUDA, Device
from ltbench.data import Imbalance, cut
from ltbench.data.images import ImageSet, LongTailed, Split
from ltbench.engine.augment.cutout import Cutout
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.method.samplers import Stream
from ltbench.plan.recipe import RECIPES, Recipe
from tests.engine.test_engine import CPU, Memory

RECIPE = RECIPES["digits"].changed({"epochs": 1, "crop_padding": 2, "flip": True})
PLAIN: Mapping[str, Stream] = {"a": instance_balanced, "b": class_balanced, "c": Again("a")}
OWN: Mapping[str, Stream] = {
    "a": instance_balanced,
    "b": Augmented(class_balanced, "autoaugment+cutout"),
    "c": Again("a", "randaugment"),
}


@pytest.fixture(scope="module")
def data() -> LongTailed:
    """Colour images of 12x12 random pixels."""
    random = np.random.default_rng(0)
    split = Split(random.integers(256, size=(90, 12, 12, 3), dtype=np.uint8), np.repeat([0, 1, 2], 30))
    return cut(ImageSet("pictures", ("x", "y", "z"), split, split), Imbalance("natural"))


class Streams(Method):
    """Plain training on several streams."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        super().__init__()
        self.given = streams

    def stages(self) -> tuple[Stage]:
        return (Stage(streams=self.given),)


def running(data: LongTailed, streams: Mapping[str, Stream], recipe: Recipe = RECIPE, **options: Any) -> RunningStage:
    method = Streams(streams)
    device = options.pop("device", CPU)
    return RunningStage(method, method.stages()[0], 0, Task.of(data, recipe, 0, device, **options))


def epoch(data: LongTailed, streams: Mapping[str, Stream], recipe: Recipe = RECIPE, **options: Any) -> Batch:
    """All images of an epoch in one batch."""
    stage = running(data, streams, recipe, **options)
    return stage.batch(stage.begin(0).flatten(1))


def parts(batch: Batch) -> dict[str, Tensor]:
    return {name: batch.part(name, batch.images) for name in batch.streams}


@pytest.mark.parametrize("place", ["device", "host"])
def test_pixels_differ_in_the_streams_that_ask_for_it_and_images_in_none(data: LongTailed, place: Any) -> None:
    recipe = RECIPE.changed({"batch_size": 90})
    plain, own = (epoch(data, streams, recipe, images_in=place) for streams in (PLAIN, OWN))
    assert torch.equal(plain.labels, own.labels)
    before, after = parts(plain), parts(own)
    assert torch.equal(before["a"], after["a"])
    for name in ("b", "c"):
        changed = (before[name] != after[name]).flatten(1).any(1)
        assert changed.float().mean() > 0.5  # an operation can leave an image as it is


def test_a_stream_of_its_own_gets_what_the_same_augmentation_of_a_recipe_gives(data: LongTailed) -> None:
    own = parts(epoch(data, OWN))
    for name, changes in (
        ("b", {"augment": "autoaugment+cutout", "cutout_side": 6}),
        ("c", {"augment": "randaugment"}),
    ):
        everywhere = parts(epoch(data, PLAIN, RECIPE.changed(changes)))
        assert torch.equal(own[name], everywhere[name])


def test_a_stream_can_do_without_the_augmentation_of_the_recipe(data: LongTailed) -> None:
    strong = RECIPE.changed({"augment": "randaugment+cutout", "cutout_side": 6})
    streams: Mapping[str, Stream] = {"a": Augmented(instance_balanced, "none"), "b": class_balanced}
    found = parts(epoch(data, streams, strong))
    assert torch.equal(found["a"], parts(epoch(data, {"a": instance_balanced}))["a"])
    assert torch.equal(found["b"], parts(epoch(data, {"b": class_balanced}, strong))["b"])


@pytest.mark.parametrize(("changes", "side"), [({}, 6), ({"augment": "cutout", "cutout_side": 3}, 3)])
def test_cutout_has_half_the_side_of_the_image_unless_the_recipe_has_one(
    data: LongTailed, changes: dict[str, Any], side: int
) -> None:
    *_, cutout = running(data, OWN, RECIPE.changed(changes)).training.augmentations
    assert isinstance(cutout, Cutout)
    assert cutout.side == side


def test_streams_have_equal_pixels_on_a_gpu(gpu: Device | None, data: LongTailed) -> None:
    on_gpu = parts(epoch(data, OWN, device=CUDA))
    for name, pixels in parts(epoch(data, OWN)).items():
        assert torch.allclose(on_gpu[name].cpu(), pixels, atol=1e-6)


def test_streams_with_their_own_augmentation_are_captured(gpu: Device | None, data: LongTailed) -> None:
    eager, graph = (train_stage(running(data, OWN, device=CUDA, tier=tier), Memory()) for tier in ("eager", "graph"))
    assert graph["tier"] == "graph", graph["tier_reason"]
    assert graph["losses"] == pytest.approx(eager["losses"], rel=1e-6)


def test_an_unknown_augmentation_of_a_stream_is_named(data: LongTailed) -> None:
    with pytest.raises(InputError, match="unknown augmentation of a stream 'autoaugmnt'; did you mean 'autoaugment'"):
        running(data, {"a": Augmented(instance_balanced, "autoaugmnt")})
