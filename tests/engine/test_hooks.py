"""What a method may add to a step: several passes, and a memory."""

import copy
import gc
import threading
import weakref
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Features, LossOf, Method, Network, Stage
from ltbench.check.pretended import CUDA, pretended
from ltbench.check.problem import CPU, TINY, Memory, differences, train
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task, Tier


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


METHODS = pytest.mark.parametrize("method", [Twice, Remembering])


def trained(method: type[Method], device: torch.device = CPU, tier: Tier = "eager", **how: object) -> State:
    return train(method, None, 0, TINY.task(device=device, tier=tier), **how)[0]  # type: ignore[arg-type]


@METHODS
def test_killed_and_resumed_it_gives_the_same_bits(method: type[Method]) -> None:
    assert differences([trained(method)], [trained(method, memory=lambda: Memory(dies=True))]) == ""


@METHODS
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
        found[seed] = train(method, None, 0, TINY.task(seed))[0]

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(3):
        assert differences([train(method, None, 0, TINY.task(seed))[0]], [found[seed]]) == ""


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
