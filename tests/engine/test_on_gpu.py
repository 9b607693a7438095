"""The engine on a GPU: on a pretended one, and with ``-m gpu`` on a real one."""

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from ltbench import Batch, Clock, Method, Network, Stage
from ltbench.check.pretended import CUDA, Device, pretended
from ltbench.check.problem import TINY, Forgetful, Memory, Problem, foundation, suited
from ltbench.engine import stage as stage_module
from ltbench.engine import step as step_module
from ltbench.engine.networks import network
from ltbench.engine.process import own_stream
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.step import Static, capturable
from ltbench.engine.task import Tier
from ltbench.engine.train import train_stage
from ltbench.method.registry import discover
from ltbench.method.samplers import augment_of, graded_of
from ltbench.plan.recipe import RECIPES
from ltbench.randomness import ALONE
from tests.engine.test_engine import same

REGISTRY = discover()
NAMES = [name for name in REGISTRY if not REGISTRY[name].method().eager_only]
CHAINS = {name: tuple(entry.method for entry, _ in REGISTRY.chain(name, {})) for name in NAMES}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(method: Method, tier: Tier = "eager", problem: Problem = TINY, device: torch.device = CUDA) -> State:
    """The results of the method's first stage."""
    running = RunningStage(method, method.stages()[0], 0, problem.task(device=device, tier=tier))
    return train_stage(running, Forgetful())


def agree(one: State, other: State, gpu: Device | None) -> bool:
    """Whether two trainings have the same numbers: bit for bit, on a real GPU within 0.1 %."""
    if gpu is None:
        return one["losses"] == pytest.approx(other["losses"], rel=1e-3)
    networks = [{name: value.cpu() for name, value in state["network"].items()} for state in (one, other)]
    return one["losses"] == other["losses"] and same(*networks) and same(one["logits"], other["logits"])


class Reading(Method):
    """Reads its loss on the host, which a capture forbids."""

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        loss = super().loss(net, batch, clock)
        return loss + 0 * loss.item()


# tiers


def stages() -> list[tuple[str, int]]:
    """Every stage of every method that trains something."""
    return [(name, i) for name in NAMES for i, s in enumerate(REGISTRY[name].method().stages()) if s.epochs]


def unlike_stages() -> list[tuple[str, int]]:
    """One stage of each kind of network, streams and trained parameters."""
    kinds: dict[tuple[Any, ...], tuple[str, int]] = {}
    for name, index in stages():
        method = REGISTRY[name].method()
        stage = method.stages()[index]
        kind = method.branches, len(method.heads), len(method.streams_of(stage)), str(stage.trains), stage.batch_norm
        kinds.setdefault(kind, (name, index))
    return list(kinds.values())


@pytest.mark.parametrize(("name", "index"), unlike_stages())
def test_compiled_steps_of_every_kind_of_stage_are_the_eager_ones(gpu: Device | None, name: str, index: int) -> None:
    """The learning rate changes between two replays. Every part of the backbone runs compiled."""
    problem = suited(TINY, CHAINS[name])
    before, position = foundation(CHAINS[name][:-1], problem)
    found: dict[Tier, list[float]] = {}
    for tier in ("eager", "compiled"):
        method = REGISTRY[name].method()
        task = problem.task(device=CUDA, tier=tier)
        running = RunningStage(method, method.stages()[index], position + index, task, before)
        found[tier] = []
        for epoch, rate in enumerate((0.1, 0.001)):
            plan = running.begin(epoch)
            running.set_to(0.0, rate)
            found[tier] += running.train(plan)
        assert running.state["tier"] == tier, running.state["tier_reason"]
    if gpu is None:
        assert found["compiled"] == pytest.approx(found["eager"], rel=1e-3)
    else:
        assert found["compiled"] == found["eager"]
        assert gpu.compiled > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_repeats_itself_and_agrees_with_the_cpu(gpu: Device | None, precision: str) -> None:
    problem = Problem(TINY.counts, TINY.size, TINY.held_out, TINY.recipe.changed({"precision": precision}))
    eager, again, captured = (trained(Method(), tier, problem) for tier in ("eager", "eager", "graph"))
    assert same(eager, again)
    assert agree(eager, captured, gpu)
    on_cpu = trained(Method(), problem=problem, device=torch.device("cpu"))
    assert eager["losses"] == pytest.approx(on_cpu["losses"], rel=1e-2)


def test_everything_that_a_recipe_adds_to_a_step_is_captured(gpu: Device | None) -> None:
    changes = {"optimizer": "adamw", "lr": 0.01, "layer_decay": 0.7, "decay_vectors": False, "weight_decay": 0.1}
    recipe = TINY.recipe.changed(changes | {"clip_grad": 0.1, "ema_decay": 0.7, "epochs": 3})
    problem = Problem(TINY.counts, TINY.size, TINY.held_out, recipe)
    eager, graph = (trained(Method(), tier, problem) for tier in ("eager", "graph"))
    assert graph["tier"] == "graph", graph["tier_reason"]
    assert agree(eager, graph, gpu)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050"])
def test_a_backbone_of_timm_on_larger_images_is_captured(gpu: Device | None, backbone: str) -> None:
    changes = {"backbone": backbone, "epochs": 1, "batch_size": 6, "jitter": 0.4, "precision": "fp32-strict"}
    recipe = RECIPES["digits"].changed(changes | {"crop_padding": 0, "resized_crop": 24})
    problem = Problem((9, 3), 32, 1, recipe)
    eager, graph = (trained(Method(), tier, problem) for tier in ("eager", "graph"))
    assert (graph["tier"], graph["tier_reason"]) == ("graph", "")
    assert agree(eager, graph, gpu)


def test_several_runs_captured_side_by_side_are_those_alone(gpu: Device | None) -> None:
    names, together = ["ce", "bbn", "mixup", "ride"], {}

    def work(name: str) -> None:
        with own_stream(CUDA):
            together[name] = trained(REGISTRY[name].method(), "graph")

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert together[name]["tier"] == "graph"
        assert agree(trained(REGISTRY[name].method(), "graph"), together[name], gpu)


@pytest.mark.parametrize("name", sorted({name for name, _ in unlike_stages()}))
def test_torch_dispatches_a_forward_pass_to_kernels_of_cuda(name: str) -> None:
    """With fake tensors, which have the real device and no values."""
    method = REGISTRY[name].method()
    problem = suited(TINY, CHAINS[name])
    net = network(method, problem.task(), 0)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        values = {key: torch.empty_like(value, device="cuda") for key, value in net.backbone.state_dict().items()}
        features = functional_call(net.backbone, values, (torch.empty(6, 3, *[problem.size] * 2, device="cuda"),))
    assert features.device.type == "cuda"


# what an epoch costs


def test_the_host_waits_once_an_epoch() -> None:
    with pretended() as gpu:
        running = RunningStage(Method(), Stage(), 0, TINY.task(device=CUDA, tier="graph"))
        running.train(running.begin(0))
        gpu.waits.clear()
        running.train(running.begin(1))
    kinds = [wait.kind for wait in gpu.waits]
    assert kinds == ["copy to the device", "read"]  # the plan and the losses


SLOW = {"index_copy_", "index_copy", "index_add", "index_add_", "scatter_add", "scatter_add_", "_index_put_impl_"}
"""Operations that take about twenty kernels if they have to be deterministic."""


@pytest.mark.parametrize(("name", "index"), stages())
def test_no_step_uses_an_operation_that_is_slow_if_deterministic(name: str, index: int) -> None:
    problem = suited(TINY, CHAINS[name])
    before, position = foundation(CHAINS[name][:-1], problem)
    method = REGISTRY[name].method()
    with pretended() as gpu:
        running = RunningStage(method, method.stages()[index], position + index, problem.task(device=CUDA), before)
        plan = running.begin(0)
        gpu.operations.clear()
        Static(running.step, plan.shape, problem.recipe.batch_size, CUDA)(plan)
    streams = method.streams_of(method.stages()[index]).values()
    equalised = any(augment_of(stream) or graded_of(stream) for stream in streams)
    histograms = {"scatter_add_"} if equalised else set()  # of "Equalize": a few kernels of a step of hundreds
    assert gpu.operations.keys() & SLOW == histograms


# captures that fail


def test_a_failed_capture_leaves_no_trace_and_the_next_one_works() -> None:
    with pretended() as gpu:
        stream = torch.cuda.current_stream(CUDA)
        eager, fallen = trained(Reading()), trained(Reading(), "graph")
        assert torch.cuda.current_stream(CUDA) is stream
        assert fallen["tier"] == "eager"
        assert agree(eager, fallen, gpu)
        assert trained(Method(), "graph")["tier"] == "graph"


def test_the_reason_of_a_failed_capture_is_the_first_error_with_its_line() -> None:
    with pretended():
        reason = trained(Reading(), "graph")["tier_reason"]
    line = Reading.loss.__code__.co_firstlineno + 2
    assert reason.startswith("capture failed: operation not permitted when stream is capturing")
    assert reason.endswith(f"(test_on_gpu.py, line {line})")


def test_a_process_that_cannot_capture_any_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "_broken", [])
    with pretended():
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda device, pool: None, raising=False)
        with pytest.warns(UserWarning, match="all later runs of this process are eager"):
            trained(Reading(), "graph")
        later = trained(Method(), "graph")
    assert later["tier"] == "eager"
    assert "an earlier capture of this process failed" in later["tier_reason"]
    assert f"line {Reading.loss.__code__.co_firstlineno + 2}" in later["tier_reason"]


@pytest.mark.gpu
def test_a_failed_capture_on_a_real_gpu_leaves_later_ones_possible() -> None:
    """In a process of its own, since a failure could break all later tests."""
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "from tests.engine.test_on_gpu import Method, Reading, trained\n"
        "fallen, eager, later = trained(Reading(), 'graph'), trained(Reading()), trained(Method(), 'graph')\n"
        "assert fallen['tier'] == 'eager' and fallen['losses'] == eager['losses'], fallen\n"
        "assert 'test_on_gpu.py, line' in fallen['tier_reason'], fallen['tier_reason']\n"
        "assert later['tier'] == 'graph', later['tier_reason']\n"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_error_other_than_of_a_capture_is_not_hidden() -> None:
    with pretended(), pytest.raises(ZeroDivisionError), capturable((0, 1), torch.cuda.Stream(CUDA), CUDA):
        raise ZeroDivisionError


# faults of the engine, planted


def with_numbers(running: RunningStage, progress: float, rate: float) -> None:
    """``set_to``, with a learning rate that is a Python number."""
    running.clock.progress.fill_(progress)
    for group in running.optimiser.param_groups:
        group["lr"] = float(group["factor"] * rate)


def without_momenta(*given: Any) -> torch.optim.SGD:
    """``optimiser_of``, whose first step creates the momentum buffers."""
    optimiser = ORIGINAL_OPTIMISER(*given)
    optimiser.state.clear()
    return optimiser


def capture_without_restoring(static: Static, drawn: Tensor, state: Any) -> None:
    ORIGINAL_CAPTURE(static, drawn, [])


ORIGINAL_OPTIMISER, ORIGINAL_CAPTURE = stage_module.optimiser_of, Static.capture
FAULTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a learning rate captured by value": (RunningStage, "set_to", with_numbers),
    "momentum created by the first step": (stage_module, "optimiser_of", without_momenta),
    "a warm-up that leaves traces": (Static, "capture", capture_without_restoring),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_engine_changes_captured_training(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, planted = FAULTS[fault]
    with pretended() as gpu:
        eager = trained(Method())
        assert agree(eager, trained(Method(), "graph"), gpu)
        monkeypatch.setattr(owner, name, planted)
        captured = trained(Method(), "graph")
        assert captured["tier"] == "graph"
        assert not agree(eager, captured, gpu)


# graphs and threads


def test_graphs_are_freed_after_training_and_not_while_another_thread_captures() -> None:
    freed: list[bool] = []
    with pretended():
        running = RunningStage(Method(), Stage(), 0, TINY.task(device=CUDA, tier="graph"))
        running.train(running.begin(0))
        assert isinstance(running._run, Static)
        (graph, *_) = (weakref.ref(play.__self__) for play in running._run.play.values())  # type: ignore[attr-defined]
        closing = threading.Thread(target=running.close)
        with ALONE:
            closing.start()
            closing.join(0.2)
            freed.append(graph() is None)
        closing.join()
        freed.append(graph() is None)
    assert freed == [False, True]


def test_a_stage_that_is_trained_frees_its_graphs() -> None:
    with pretended():
        running = RunningStage(Method(), Stage(), 0, TINY.task(device=CUDA, tier="graph"))
        train_stage(running, Memory())
        assert isinstance(running._run, Static)
        assert running._run.play == {}
