"""The engine: plan, data on the device, the loop, resume, failure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import functional as vision

from ltbench import Batch, Clock, Method, Network, Stage, class_balanced, instance_balanced
from ltbench.data import Imbalance, cut, load
from ltbench.engine import epoch_plan
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.engine.batches import Normaliser, Resident
from ltbench.engine.evaluate import TrainingFailed, predictions
from ltbench.engine.networks import network, restore
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.step import Eager, Epochs, Static
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.method.registry import discover
from ltbench.method.samplers import Pool
from ltbench.plan.recipe import RECIPES

CPU = torch.device("cpu")
RECIPE = RECIPES["digits"].changed({"epochs": 4, "evaluate_every": 2})


class Memory:
    """A checkpoint in memory; ``dies_after`` saves it raises, as if the process were killed."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.state: State | None = None
        self.dies_after = dies_after

    def load(self) -> State | None:
        return self.state

    def due(self) -> bool:
        return True

    def save(self, state: State) -> None:
        copied: dict[str, Any] = {}
        torch.save(state, buffer := __import__("io").BytesIO())
        buffer.seek(0)
        copied = torch.load(buffer, weights_only=True)
        self.state = copied
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after == 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data() -> Any:
    return cut(load("digits"), Imbalance("exp", 20))


def train(method: Method, data: Any, recipe: Any = RECIPE, seed: int = 0, memory: Memory | None = None) -> State:
    task = Task.of(data, recipe, seed, CPU)
    return train_stage(RunningStage(method, method.stages()[0], 0, task), memory or Memory())


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if not k.endswith("_seconds"))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


# the plan


def draw(epoch: int = 0, seed: int = 0, flip: bool = True) -> Tensor:
    pool = Pool.of(np.repeat([0, 1, 2], [50, 10, 2]), 3)
    streams = {"a": instance_balanced, "b": class_balanced}
    return epoch_plan.draw(pool, streams, 62, 0.0, (PaddedCrop(4, flip),), where=(seed, 0, epoch))


def test_the_plan_depends_on_its_key_alone() -> None:
    assert torch.equal(draw(epoch=3), draw(epoch=3))
    assert not torch.equal(draw(epoch=3), draw(epoch=4))
    assert not torch.equal(draw(seed=0), draw(seed=1))
    state = torch.get_rng_state()
    draw()
    assert torch.equal(torch.get_rng_state(), state)


def test_the_plan_has_every_crop_and_both_sides() -> None:
    drawn = torch.cat([draw(epoch=e) for e in range(20)], dim=2)
    index, mirrored, top, left = drawn.unbind()
    assert set(mirrored.flatten().tolist()) == {0, 1}
    assert set(top.flatten().tolist()) == set(left.flatten().tolist()) == set(range(9))
    assert sorted(index[0, :62].tolist()) == list(range(62))
    assert not draw(flip=False)[1].any()
    assert not torch.equal(draw()[2:, 0], draw()[2:, 1])  # each stream has its own crops


def test_the_stream_of_one_method_does_not_depend_on_its_others() -> None:
    pool = Pool.of(np.repeat([0, 1], 20), 2)
    crop = (PaddedCrop(1, flip=True),)
    alone = epoch_plan.draw(pool, {"main": instance_balanced}, 40, 0.0, crop, (0, 0, 0))
    beside = epoch_plan.draw(pool, {"x": class_balanced, "main": instance_balanced}, 40, 0.0, crop, (0, 0, 0))
    assert torch.equal(alone[:, 0], beside[:, 1])


# data on the device


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_equal_the_usual_chain_of_pil_transforms(channels: int) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(20, 32, 32, channels), dtype=np.uint8)
    mean, std = (0.4914, 0.4822, 0.4465)[:channels], (0.2023, 0.1994, 0.2010)[:channels]
    resident = Resident(torch.from_numpy(images), torch.arange(20), PaddedCrop(4, flip=True), ())
    columns = torch.from_numpy(generator.integers([[20], [2], [9], [9]], size=(4, 64)))
    pixels, labels = resident.batch(columns)
    found = Normaliser(mean, std, CPU)(pixels)
    assert found.is_contiguous(memory_format=torch.channels_last)
    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    for i, (index, mirrored, top, left) in enumerate(columns.T.tolist()):
        picture = Image.fromarray(images[index].squeeze())
        picture = vision.hflip(picture) if mirrored else picture
        cropped = vision.crop(vision.pad(picture, 4), top, left, 32, 32)
        assert torch.allclose(found[i], finish(cropped), atol=1e-6)
        assert labels[i] == index


# the loop


def test_training_learns_and_reports(data: Any) -> None:
    state = train(Method(), data, RECIPE.changed({"epochs": 12}))
    assert state["losses"][-1] < state["losses"][0] / 2
    assert [e["epoch"] for e in state["evaluations"]] == [2, 4, 6, 8, 10, 12]
    assert state["evaluations"][-1]["test"]["accuracy"] > 0.5
    assert state["logits"]["test"].shape == (597, 10)
    assert state["images"] == 12 * len(data.train)


def test_the_same_cell_twice_gives_the_same_numbers(data: Any) -> None:
    assert same(train(Method(), data), train(Method(), data))


def test_another_seed_gives_others(data: Any) -> None:
    assert not same(train(Method(), data)["network"], train(Method(), data, seed=1)["network"])


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_killed_stage_goes_on_to_the_very_same_numbers(data: Any, dies_after: int) -> None:
    memory = Memory(dies_after)
    with pytest.raises(KeyboardInterrupt):
        train(Method(), data, memory=memory)
    assert memory.state is not None
    assert memory.state["epoch"] == dies_after
    memory.dies_after = None
    assert same(train(Method(), data, memory=memory), train(Method(), data))


def test_dropout_is_repeated_too(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dropping(Method):
        def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            logits = net.heads["main"](nn.functional.dropout(net.features(batch.images), 0.5))
            return nn.functional.cross_entropy(logits, batch.labels)

    memory = Memory(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        train(Dropping(), data, memory=memory)
    memory.dies_after = None
    torch.manual_seed(123)  # what the process drew before must not matter
    assert same(train(Dropping(), data, memory=memory), train(Dropping(), data))


def test_the_random_state_of_the_caller_is_left_alone(data: Any) -> None:
    before = torch.get_rng_state()
    train(Method(), data)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_no_number_is_named_with_epoch_and_step(data: Any) -> None:
    class Diverging(Method):
        def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            return super().loss(net, batch, clock) / torch.where(clock.progress >= 0.5, 0.0, 1.0)

    with pytest.raises(TrainingFailed, match=r"loss became inf in stage 'train', epoch 3 of 4, step 1"):
        train(Diverging(), data)


def test_logits_that_are_no_numbers_are_named_with_the_epoch(data: Any) -> None:
    class Broken(Method):
        def predict(self, net: Network, images: Tensor) -> Tensor:
            return super().predict(net, images) / 0

    with pytest.raises(TrainingFailed, match="the logits are not finite after epoch 2"):
        train(Broken(), data)


def test_the_clock_runs_from_zero_and_stays_below_one(data: Any) -> None:
    seen: list[float] = []

    class Watching(Method):
        def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            seen.append(float(clock.progress))
            return super().loss(net, batch, clock)

    train(Watching(), data)
    assert sorted(set(seen)) == [0.0, 0.25, 0.5, 0.75]


def test_batches_have_the_usual_size_and_a_last_one_with_the_rest(data: Any) -> None:
    sizes: list[tuple[int, int]] = []

    class Watching(Method):
        streams = {"one": instance_balanced, "two": class_balanced}
        heads = ("one", "two")

        def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            sizes.append((len(batch.part("one", batch.labels)), len(batch.part("two", batch.images))))
            return super().loss(net, batch, clock)

    train(Watching(), data, RECIPE.changed({"epochs": 1}))
    n = len(data.train)
    assert sizes == [(32, 32)] * (n // 32) + [(n % 32, n % 32)]


def test_a_stage_of_heads_leaves_the_backbone_alone(data: Any) -> None:
    class Heads(Method):
        def stages(self) -> tuple[Stage, ...]:
            return (Stage(trains="heads", batch_norm="eval"),)

    task = Task.of(data, RECIPE, 0, CPU)
    before = network(Heads(), task, 0).state_dict()
    after = train(Heads(), data)["network"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"heads.main.weight", "heads.main.bias"}


def test_batch_norm_in_train_mode_moves_only_its_statistics(data: Any) -> None:
    class Heads(Method):
        def stages(self) -> tuple[Stage, ...]:
            return (Stage(trains="heads"),)

    before = network(Heads(), Task.of(data, RECIPE, 0, CPU), 0).state_dict()
    after = train(Heads(), data)["network"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if name.startswith("backbone.")} == {
        name for name in before if name.endswith(("running_mean", "running_var"))
    }


def test_one_sgd_step_against_plain_pytorch(data: Any) -> None:
    """Warm-up, momentum and weight decay act as torch.optim.SGD with a plain learning rate acts."""
    recipe = RECIPE.changed({"epochs": 2, "warmup_epochs": 2, "evaluate_every": 5})
    method = Method()
    task = Task.of(data, recipe, 0, CPU)
    net = network(method, task, 0).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-4)
    net.train()
    for epoch, rate in enumerate((0.05, 0.1)):
        optimiser.param_groups[0]["lr"] = rate
        drawn = epoch_plan.draw(
            task.pool, method.streams, len(data.train), epoch / 2, task.training.augmentations, (0, 0, epoch)
        )
        for columns in torch.split(drawn, 32, dim=2):
            pixels, labels = task.training.batch(columns.flatten(1))
            loss = nn.functional.cross_entropy(net(task.normalise(pixels)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    found = train(method, data, recipe)["network"]
    for name, value in net.state_dict().items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("precision", ["fp32", "fp32-strict", "bf16"])
def test_every_precision_trains(data: Any, precision: str) -> None:
    state = train(Method(), data, RECIPE.changed({"precision": precision, "epochs": 12}))
    assert state["evaluations"][-1]["test"]["accuracy"] > 0.5


def test_a_batch_of_held_out_images_is_never_a_class_and_predictions_come_back_in_order(data: Any) -> None:
    order = np.argsort(data.test.labels, kind="stable")
    in_classes = replace(data, test=data.test.take(order))  # as an image folder lists them
    task = Task.of(in_classes, RECIPE, 0, CPU)
    batches = list(task.held_out["test"].batches(50))
    assert all(len(set(labels.tolist())) > 4 for _, labels in batches)
    assert not torch.equal(torch.cat([labels for _, labels in batches]), task.held_out["test"].labels)

    class OfPixels(Method):
        """Ten pixels of each image as its logits."""

        def predict(self, net: Network, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10]

    found = predictions(OfPixels(), nn.Identity(), task, task.held_out["test"], 0)
    plain = task.normalise(torch.from_numpy(in_classes.test.pixels())).flatten(1)[:, :10]
    assert np.array_equal(found.logits, plain.half().numpy())
    assert np.array_equal(found.images[0], plain.argmax(1).numpy())


def test_validation_is_evaluated_where_there_is_one() -> None:
    held = cut(load("digits"), Imbalance("exp", 10), holdout=20)
    state = train(Method(), held, RECIPE.changed({"epochs": 1}))
    assert state["evaluations"][0]["val"]["hits"] != state["evaluations"][0]["test"]["hits"]
    assert state["logits"]["val"].shape == (200, 10)


def test_restore_copies_bit_for_bit(data: Any) -> None:
    task = Task.of(data, RECIPE, 0, CPU)
    one, other = network(Method(), task, 0), network(Method(), replace(task, seed=1), 0)
    restore(other, one.state_dict())
    assert same(one.state_dict(), other.state_dict())


# steps in fixed places, as a CUDA graph has them


def losses_and_state(runner: str, data: Any, epochs: int = 3) -> tuple[list[float], dict[str, Tensor]]:
    """A few epochs of one method with the learning rate and the clock changing in between."""
    running = RunningStage(discover()["ldam_drw"].method(), Stage(), 0, Task.of(data, RECIPE, 0, CPU))
    shape = running.begin(0).shape
    run: Epochs = Eager(running.step, 32) if runner == "eager" else Static(running.step, shape, 32, CPU)
    losses = []
    for epoch in range(epochs):
        plan = running.begin(epoch)
        running.set_to(epoch / epochs, 0.1 / (1 + epoch))
        losses += run(plan)
    return losses, running.net.state_dict()


def test_static_steps_are_the_eager_ones_bit_for_bit(data: Any) -> None:
    eager, static = losses_and_state("eager", data), losses_and_state("static", data)
    assert eager[0] == static[0]
    assert same(eager[1], static[1])


def test_a_method_may_decline_capture_and_a_failed_capture_falls_back(data: Any) -> None:
    class Host(Method):
        eager_only = "draws on the host"

    task = Task.of(data, RECIPE, 0, CPU, tier="graph")
    declining = RunningStage(Host(), Stage(), 0, task)
    _, tier, reason = declining.runner(declining.begin(0))
    assert (tier, reason) == ("eager", "draws on the host")
    if not torch.cuda.is_available():
        failing = RunningStage(Method(), Stage(), 0, task)
        _, tier, reason = failing.runner(failing.begin(0))
        assert tier == "eager"
        assert reason.startswith("capture failed: ")
    assert train(Method(), data)["tier"] == "eager"
