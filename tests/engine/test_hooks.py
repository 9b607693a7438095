"""What a method may add to a step or to the network: several passes, a memory, further layers."""

import copy
import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import (
    Augmented,
    Batch,
    Clock,
    Features,
    InputError,
    LossOf,
    Method,
    Network,
    Stage,
    Trial,
    instance_balanced,
)
from ltbench.check.pretended import CUDA, pretended
from ltbench.check.problem import CPU, TINY, Memory, differences, train
from ltbench.engine import epoch_plan
from ltbench.engine.networks import network, trained_network
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.strengths import choose_strengths
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import call_before_epoch
from ltbench.models.network import initialised_backbone


class Twice(Method):
    """The gradient at weights that are smaller by a tenth."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(gradient=self.elsewhere),)

    def elsewhere(self, net: Network, loss_of: LossOf) -> Tensor:
        loss = loss_of()
        with torch.no_grad():
            before = [value.clone() for value in net.parameters()]
            torch._foreach_mul_(list(net.parameters()), 0.9)
        loss_of().backward()
        with torch.no_grad():
            torch._foreach_copy_(list(net.parameters()), before)
        return loss


class Remembering(Method):
    """An average of the weights, which is the final network, a queue of features and the last loss of each image."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(project=self.follow, finish=self.take_teacher),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        memory = nn.Module()
        memory.teacher = copy.deepcopy(net)
        memory.register_buffer("losses", torch.zeros(int(counts.sum())))
        memory.register_buffer("queue", torch.randn(5, 64))
        return memory

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        features = net.features(batch.images)
        each = F.cross_entropy(net.heads["main"](features), batch.labels, reduction="none")
        losses, queue = net.memory.get_buffer("losses"), net.memory.get_buffer("queue")
        weights, near = (1 + losses[batch.index]), (features @ queue.clone().T).tanh().mean()
        losses[batch.index] = each.detach()
        queue.copy_(torch.cat([features.detach().float(), queue])[: len(queue)])
        return (weights * each).mean() + near

    def follow(self, net: Network) -> None:
        teacher = net.memory.get_submodule("teacher")
        torch._foreach_lerp_(list(teacher.parameters()), list(net.parameters()), 0.1)

    def take_teacher(self, net: Network, features: Features) -> None:
        net.load_state_dict(net.memory.get_submodule("teacher").state_dict())


class Strengthening(Method):
    """The strength of a class is the number of its trials that failed so far, up to 4."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": Augmented(instance_balanced, graded=0.7)}, strengths=self.choose),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        memory = nn.Module()
        memory.register_buffer("failed", torch.zeros(len(counts), dtype=torch.int64))
        return memory

    def choose(self, net: Network, trial: Trial) -> Tensor:
        failed = net.memory.get_buffer("failed")
        failed += (~trial(torch.arange(len(failed)), 1 + failed)).long()
        return failed.clamp_(max=4)


class Averaging(Method):
    """The mean of the weights after the second and the third of three epochs."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(average_from=0.4, schedule="constant"),)


class Taught(Method):
    """A new network that learns from the one of the stage before."""

    def stages(self) -> Sequence[Stage]:
        return (Stage("teacher", loss=super().loss), Stage("student", new_network=True))

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        return nn.ModuleDict({"teacher": copy.deepcopy(net).eval()})

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        with torch.no_grad():
            teacher = net.memory.get_submodule("teacher")(batch.images).softmax(1)
        return F.cross_entropy(net(batch.images), teacher)


class Late(Method):
    """The loss is twice as large in the last of three epochs."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(late_loss=self.doubled, late_from=0.6),)

    def doubled(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return 2 * self.loss(net, batch, clock)


class Centred(Method):
    """Features near the means of classes, which are computed before every epoch, and a count of the epochs."""

    def stages(self) -> Sequence[Stage]:
        return (Stage(before_epoch=self.take_means),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        memory = nn.Module()
        memory.register_buffer("means", torch.zeros(len(counts), 64))
        memory.register_buffer("epochs", torch.zeros(()))
        return memory

    def take_means(self, net: Network, features: Tensor, labels: Tensor) -> None:
        means = net.memory.get_buffer("means")
        means.zero_().index_add_(0, labels, features).div_(labels.bincount(minlength=len(means))[:, None])
        net.memory.get_buffer("epochs").add_(1)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        features = net.features(batch.images)
        far = (features - net.memory.get_buffer("means")[batch.labels]).square().mean()
        return F.cross_entropy(net.heads["main"](features), batch.labels) + net.memory.get_buffer("epochs") * far


class Deeper(nn.Module):
    """A backbone whose features a second expert sees through a further layer."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain
        self.added = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features = self.plain(images)
        return torch.stack([features, self.added(features)], dim=1)


class Rebuilt(Method):
    """The whole network; then the added layer and its head alone."""

    heads = ("plain", "deeper")

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        return Deeper(backbone)

    def stages(self) -> Sequence[Stage]:
        return (Stage("all"), Stage("added", trains={"backbone.added.*": 1.0, "heads.deeper.*": 1.0}))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net.experts(batch.images).flatten(0, 1), batch.labels.repeat(2))

    def predict(self, net: Network, images: Tensor) -> Tensor:
        return net.experts(images).mean(0)


class Shifted(Method):
    """A shift inside of the backbone, whose layers keep their names; it alone is trained, with the head."""

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        backbone.register_parameter("shift", nn.Parameter(torch.randn(64, 1, 1)))
        backbone.get_submodule("layers").register_forward_hook(lambda _, given, found: found + backbone.shift)
        return backbone

    def stages(self) -> Sequence[Stage]:
        return (Stage(trains={"backbone.shift": 1.0, "heads.*": 1.0}, batch_norm="eval"),)


CONSTANT = Stage(schedule="constant")
METHODS = pytest.mark.parametrize(
    "method", [Twice, Remembering, Strengthening, Averaging, Taught, Late, Centred, Rebuilt]
)
SLOW = [pytest.param(method, marks=pytest.mark.slow) for method in (Strengthening, Taught, Rebuilt)]


def trained(method: type[Method], device: torch.device = CPU, tier: Tier = "eager", **how: object) -> State:
    return train(method, None, 0, TINY.task(device=device, tier=tier), **how)[-1]  # type: ignore[arg-type]


@METHODS
def test_killed_and_resumed_it_gives_the_same_bits(method: type[Method]) -> None:
    assert differences([trained(method)], [trained(method, memory=lambda: Memory(dies=True))]) == ""


@pytest.mark.parametrize("method", [Twice, Remembering, Averaging, Late, Centred, *SLOW])
def test_captured_it_gives_the_same_bits(method: type[Method]) -> None:
    expected = trained(method)
    with pretended():
        found = trained(method, CUDA, "graph", memory=lambda: Memory(dies=True))
        assert (found["tier"], found["tier_reason"]) == ("graph", "")
        found["network"] = {name: value.cpu() for name, value in found["network"].items()}
    assert differences([expected], [found]) == ""


@METHODS
def test_several_runs_at_the_same_time_give_the_same_bits(method: type[Method]) -> None:
    found: dict[int, State] = {}

    def run(seed: int) -> None:
        found[seed] = train(method, None, 0, TINY.task(seed))[-1]

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(3):
        assert differences([train(method, None, 0, TINY.task(seed))[-1]], [found[seed]]) == ""


@pytest.mark.parametrize("method", [Strengthening, Averaging])
def test_trials_and_averages_use_images_from_everywhere(method: type[Method]) -> None:
    host = Task.of(TINY.data, TINY.recipe, 0, CPU, images_in="host")
    assert differences([trained(method)], train(method, None, 0, host)) == ""


def test_passes_use_the_precision_of_the_recipe() -> None:
    seen: list[torch.dtype] = []

    class Seeing(Twice):
        def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            logits = net(batch.images)
            seen.append(logits.dtype)
            return F.cross_entropy(logits, batch.labels)

    task = Task.of(TINY.data, TINY.recipe.changed({"precision": "bf16"}), 0, CPU)
    running = RunningStage(Seeing(), Seeing().stages()[0], 0, task)
    running.train(running.begin(0))
    assert set(seen) == {torch.bfloat16}


def test_an_update_uses_the_gradient_that_the_method_left() -> None:
    running = RunningStage(Twice(), Twice().stages()[0], 0, TINY.task())
    batch = running.batch(running.begin(0)[:, :, :6].flatten(1))
    before = {name: value.detach().clone() for name, value in running.net.named_parameters()}
    running.gradient(batch)
    usual = RunningStage(Method(), Stage(), 0, TINY.task())
    usual.begin(0)
    for name, value in usual.net.named_parameters():
        value.data.copy_(0.9 * before[name])
    usual.gradient(batch)
    for (name, value), other in zip(running.net.named_parameters(), usual.net.parameters(), strict=True):
        assert torch.equal(value, before[name])
        assert value.grad is not None and other.grad is not None
        assert torch.allclose(value.grad, other.grad, rtol=1e-4, atol=1e-7)


def test_a_memory_is_neither_trained_nor_stored_with_the_network_and_is_freed() -> None:
    running = RunningStage(Remembering(), Remembering().stages()[0], 0, TINY.task())
    own = {id(value) for value in running.net.memory.parameters()}
    assert own
    assert not own & {id(value) for group in running.optimiser.param_groups for value in group["params"]}
    assert all("teacher" not in name for name in running.net.state_dict())
    plan = running.begin(0)
    indices = running.batch(plan.flatten(1)).index
    assert torch.equal(indices, plan[0].flatten())
    running.train(plan)
    assert (running.net.memory.get_buffer("losses") > 0).all()
    freed = weakref.ref(running.net.memory)
    del running
    gc.collect()
    assert freed() is None


def test_a_memory_keeps_its_own_place_for_each_image() -> None:
    running = RunningStage(Remembering(), Remembering().stages()[0], 0, TINY.task())
    columns = running.begin(0)[:, :, :6].flatten(1)
    running.step(columns)
    seen = running.net.memory.get_buffer("losses").nonzero().flatten().tolist()
    assert seen == sorted(columns[0].tolist())


def test_a_class_is_augmented_as_strongly_as_the_method_says() -> None:
    class Chosen(Strengthening):
        def stages(self) -> Sequence[Stage]:
            return (Stage(streams={"main": Augmented(instance_balanced, graded=1.0)}, strengths=self.choose),)

        def choose(self, net: Network, trial: Trial) -> Tensor:
            return torch.tensor([0, 3, 10, 1])

    running = RunningStage(Chosen(), Chosen().stages()[0], 0, TINY.task())
    choose_strengths(running, 0)
    index, (*_, rows), _ = epoch_plan.split(running.begin(0)[:, 0], running.training.augmentations)
    labels = torch.from_numpy(TINY.data.train.labels)[index]
    assert torch.equal((rows[::2] != 0).sum(0), torch.tensor([0, 3, 10, 1])[labels])


def test_trials_are_predictions_for_images_of_the_class_and_differ_from_call_to_call() -> None:
    seen: list[Tensor] = []

    class Seeing(Strengthening):
        def choose(self, net: Network, trial: Trial) -> Tensor:
            classes, strengths = torch.tensor([2, 0, 2]), torch.tensor([0, 9, 10])
            found = [trial(classes, strengths), trial(classes, strengths)]
            assert not net.training
            assert [(logits.argmax(1) == classes).tolist() for logits in logits_seen] == [one.tolist() for one in found]
            return torch.zeros(4, dtype=torch.int64)

        def predict(self, net: Network, images: Tensor) -> Tensor:
            seen.append(images)
            logits_seen.append(super().predict(net, images))
            return logits_seen[-1]

    logits_seen: list[Tensor] = []
    task = Task.of(TINY.data, TINY.recipe.changed({"crop_padding": 0}), 0, CPU)
    running = RunningStage(Seeing(), Seeing().stages()[0], 0, task)
    choose_strengths(running, 0)
    first, second = seen
    own = torch.from_numpy(TINY.data.train.images[TINY.data.train.labels == 2])
    plain = running.task.normalise(own)
    assert any(torch.equal(first[0], image) for image in plain)  # of strength 0
    assert not torch.equal(first[1:], second[1:])


def test_strengths_that_are_not_allowed_are_an_error() -> None:
    class Wrong(Strengthening):
        def choose(self, net: Network, trial: Trial) -> Tensor:
            return torch.tensor([0, 11, 0, 0])

    running = RunningStage(Wrong(), Wrong().stages()[0], 0, TINY.task())
    with pytest.raises(InputError, match=r"return \[C\] int64 from 0 to 10, C = 4"):
        choose_strengths(running, 0)


def test_an_average_counts_epochs_equally_and_statistics_are_means_over_batches() -> None:
    running = RunningStage(Averaging(), Averaging().stages()[0], 0, TINY.task())
    kept: list[list[Tensor]] = []
    for epoch in range(3):
        running.train(running.begin(epoch))
        running.state["epoch"] += 1
        kept.append([value.detach().clone() for value in running.net.parameters()])
    layer = next(m for m in running.net.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    running.take_average()
    for value, second, third in zip(running.net.parameters(), kept[1], kept[2], strict=True):
        assert torch.allclose(value, (second + third) / 2, atol=1e-6)
    assert layer.running_mean is not None and layer.running_var is not None
    assert [len(images) for images in seen] == [6, 6, 4]
    means = torch.stack([images.mean((0, 2, 3)) for images in seen])
    variances = torch.stack([images.var((0, 2, 3)) for images in seen])
    assert torch.allclose(layer.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(layer.running_var, variances.mean(0), rtol=1e-4)
    assert layer.momentum == 0.1


def test_an_average_is_evaluated_from_its_first_epoch_on_and_changes_no_training() -> None:
    running, usual = (RunningStage(Averaging(), stage, 0, TINY.task()) for stage in (*Averaging().stages(), CONSTANT))
    for epoch in range(2):
        losses = running.train(running.begin(epoch))
        assert losses == usual.train(usual.begin(epoch))
        running.state["epoch"] += 1
        usual.state["epoch"] += 1
        before = copy.deepcopy(running.net.state_dict())
        with running.with_average():
            changed = [name for name, value in running.net.state_dict().items() if not torch.equal(value, before[name])]
        assert bool(changed) == (epoch == 1)  # after the second epoch, batch norm has other statistics
        assert all(torch.equal(value, before[name]) for name, value in running.net.state_dict().items())


def test_a_new_network_is_that_of_a_new_run_and_the_old_one_teaches() -> None:
    method = Taught()
    first, second = method.stages()
    teacher = RunningStage(method, first, 0, TINY.task())
    teacher.train(teacher.begin(0))
    student = RunningStage(method, second, 1, TINY.task(), teacher.to_save())
    fresh = RunningStage(method, first, 1, TINY.task())
    assert all(torch.equal(value, fresh.net.state_dict()[name]) for name, value in student.net.state_dict().items())
    kept = student.net.memory.get_submodule("teacher").state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in teacher.net.state_dict().items())


@pytest.mark.parametrize(("late_from", "epochs"), [(0.6, [2]), (0.3, [1, 2]), (0.9, [2])])
def test_a_late_loss_takes_the_place_of_the_loss_and_is_used_in_the_last_epoch_at_least(
    late_from: float, epochs: list[int]
) -> None:
    method = Late()
    running = RunningStage(method, Stage(late_loss=method.doubled, late_from=late_from), 0, TINY.task())
    batch = running.batch(running.begin(0)[:, :, :6].flatten(1))
    found = []
    for epoch in range(3):
        running.begin(epoch)
        assert running.loss(batch, method.loss) == method.loss(running.net, batch, running.clock)
        if running.loss(batch) == 2 * method.loss(running.net, batch, running.clock):
            found.append(epoch)
    assert found == epochs


def test_only_a_late_loss_may_draw_from_torchs_generator() -> None:
    class Drawing(Late):
        def doubled(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
            return F.cross_entropy(net.heads["main"](F.dropout(net.features(batch.images))), batch.labels)

    assert differences([trained(Drawing)], [trained(Drawing)]) == ""


def test_a_batch_has_the_normalisation_of_its_images() -> None:
    running = RunningStage(Method(), Stage(), 0, TINY.task())
    columns = running.begin(0).flatten(1)
    pixels, _ = running.training.batch(columns)
    batch = running.batch(columns)
    assert torch.allclose(255 * (batch.images * batch.std + batch.mean), pixels.permute(0, 3, 1, 2).float(), atol=1e-3)


def test_before_an_epoch_a_method_sees_features_of_images_without_augmentation_in_evaluation_mode() -> None:
    class Seeing(Centred):
        def take_means(self, net: Network, features: Tensor, labels: Tensor) -> None:
            assert not (torch.is_grad_enabled() or net.training)
            super().take_means(net, features, labels)

    running = RunningStage(Seeing(), Seeing().stages()[0], 0, TINY.task())
    plain = copy.deepcopy(running.net).eval().features(running.task.normalise(torch.from_numpy(TINY.data.train.images)))
    call_before_epoch(running)
    for label, mean in enumerate(running.net.memory.get_buffer("means")):
        assert torch.allclose(mean, plain[torch.from_numpy(TINY.data.train.labels) == label].mean(0), atol=1e-5)
    running.begin(0)
    assert running.net.training


def test_an_added_layer_starts_by_the_seed_and_changes_no_other_weight() -> None:
    plain, rebuilt, again = (network(method, TINY.task(), 0) for method in (Method(), Rebuilt(), Rebuilt()))
    other = network(Rebuilt(), TINY.task(1), 0)
    for name, value in plain.backbone.state_dict().items():
        assert torch.equal(rebuilt.backbone.state_dict()[f"plain.{name}"], value)
    for name, value in rebuilt.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert not torch.equal(
        other.get_parameter("backbone.added.0.weight"), rebuilt.get_parameter("backbone.added.0.weight")
    )


def test_a_stage_that_trains_the_added_layer_changes_nothing_else() -> None:
    first, second = train(Rebuilt, None, 0, TINY.task())
    changed = {name for name, value in first["network"].items() if not torch.equal(value, second["network"][name])}
    layers = {f"backbone.added.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
    assert layers | {"heads.deeper.weight", "heads.deeper.bias"} == {name for name in changed if "running" not in name}


def test_the_stored_network_has_the_added_layer() -> None:
    state = trained(Rebuilt)
    net = trained_network(Rebuilt(), TINY.task(), state["network"]).eval()
    images = TINY.task().normalise(torch.from_numpy(TINY.data.test.images))
    with torch.inference_mode():
        assert torch.equal(Rebuilt().predict(net, images).half(), state["logits"]["test"])


def test_a_network_without_the_added_layer_is_continued_where_names_stay() -> None:
    before = trained(Method)
    running = RunningStage(Shifted(), Shifted().stages()[0], 1, TINY.task(), before)
    fresh = network(Shifted(), TINY.task(), 1).get_parameter("backbone.shift")
    assert torch.equal(running.net.get_parameter("backbone.shift"), fresh)
    for name, value in before["network"].items():
        assert torch.equal(running.net.state_dict()[name], value)
    with pytest.raises(InputError, match=r"the stage before has backbone\.conv1\.weight, which this network lacks"):
        RunningStage(Rebuilt(), Rebuilt().stages()[0], 1, TINY.task(), before)


@pytest.mark.parametrize(
    ("rebuild", "says"),
    [
        (lambda backbone: None, r"rebuild\(\) returns None; return the backbone"),
        (lambda backbone: backbone.layers[:0], r"features of shape \(2, 3, 8, 8\); give \[B, D\]"),
    ],
)
def test_what_is_no_backbone_is_refused(rebuild: Callable[..., Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        initialised_backbone("resnet8_cifar", 3, (8, 8), [0], rebuild=rebuild)
