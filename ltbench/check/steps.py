"""Checks on single steps: their cost, whether they wait for the device, whether they can be captured."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.check.pretended import CUDA, Device, pretended
from ltbench.check.problem import Memory, Problem, differences, foundation, same_length, start, suited, train
from ltbench.check.subject import Broken, NotApplicable, Subject
from ltbench.check.training import reference
from ltbench.engine.stage import RunningStage
from ltbench.engine.train import call_before_epoch
from ltbench.method.contract import Method, Stage
from ltbench.plan.recipe import RECIPES

SCHEDULE = ((0.0, 0.1), (0.9, 0.05))  # progress and learning rate: early and late in training
READING = ("read", "copy to the host", "size by values", "synchronisation")  # kinds of waits that a plan must not have
TOLERANCE = 0.15  # relative to the cost, or to 1 where the cost is lower
FULL = Problem((5, 1, 1, 1), 32, 1, RECIPES["ldam"].changed({"epochs": 10, "batch_size": 8}))
"""One step of ResNet-32 on images of 32 x 32 pixels, whose operations are counted."""


def trained_stages(subject: Subject) -> list[int]:
    """The indices of the method's own stages that train.

    Raises:
        NotApplicable: where there is none, or the method declares that it cannot be captured.
    """
    if subject.method.eager_only:
        raise NotApplicable(f"it declares: {subject.method.eager_only}")
    found = [index for index, stage in enumerate(subject.method().stages()) if stage.epochs]
    if not found:
        raise NotApplicable("it trains nothing of its own")
    return found


def started(subject: Subject, index: int, device: torch.device) -> RunningStage:
    """One of the method's own stages on the tiny problem, before its first step."""
    before, position = foundation(subject.chain[:-1], subject.tiny)
    return start(subject.method, index, position, subject.tiny.task(device=device), before)


def cost(subject: Subject) -> str:
    """The declared cost is that of all stages together: floating-point operations relative to plain training."""
    methods = [make() for make in subject.chain]
    stages = [(method, stage) for method in methods for stage in method.stages()]
    full = suited(FULL, subject.chain)
    counted = sum(
        stage.epochs * share * stage_flops(method, stage, position, full, progress) / plain_flops(full)
        for position, (method, stage) in enumerate(stages)
        if stage.epochs
        for progress, share in parts_of(stage)
    )
    declared = subject.method.cost
    if abs(counted - declared) > TOLERANCE * max(1.0, counted):
        raise Broken(f"the file declares cost = {declared:g}, but the operations of all stages give {counted:.2f}")
    return f"declared {declared:g}, counted {counted:.2f}"


@functools.cache
def plain_flops(problem: Problem) -> int:
    """Floating-point operations of one step of plain training."""
    return stage_flops(Method(), Stage(), 0, problem)


def parts_of(stage: Stage) -> tuple[tuple[float, float], ...]:
    """The parts of a stage whose steps may differ in cost: the progress at which each begins, and its share."""
    if stage.late_loss is None:
        return ((0.0, 1.0),)
    return ((0.0, stage.late_from), (stage.late_from, 1 - stage.late_from))


def stage_flops(method: Method, stage: Stage, position: int, problem: Problem, progress: float = 0.0) -> int:
    """Floating-point operations of an epoch of one step at some progress of a stage, forward and backward."""
    running = RunningStage(method, stage, position, problem.task())
    with FlopCounterMode(display=False) as counter:
        call_before_epoch(running)
        columns = running.begin(0).flatten(1)
        running.set_to(progress, 0.1)
        running.step(columns)
    return int(counter.get_total_flops())


@contextlib.contextmanager
def on_gpu(subject: Subject) -> Iterator[tuple[torch.device, Device | None]]:
    """The device of the subject if it is a GPU; else a pretended one, and its log."""
    if subject.device.type == "cuda":
        yield subject.device, None
    else:
        with pretended() as gpu:
            yield CUDA, gpu


def no_waiting(subject: Subject) -> str:
    """No step of any stage makes the host wait for the device."""
    stages = trained_stages(subject)
    foundation(subject.chain[:-1], subject.tiny)
    with on_gpu(subject) as (device, gpu):
        for index in stages:
            running = started(subject, index, device)
            if gpu is None:
                _by_debug_mode(running)
            else:
                _by_log(running, gpu, subject)
    return "by CUDA's sync debug mode" if gpu is None else "on a pretended GPU"


def _by_debug_mode(running: RunningStage) -> None:
    """Run two steps on a GPU, which raises where the second one waits; the first may wait while it sets things up."""
    columns = running.begin(0).flatten(1)
    running.step(columns)
    torch.cuda.set_sync_debug_mode("error")
    try:
        running.step(columns)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _by_log(running: RunningStage, gpu: Device, subject: Subject) -> None:
    """Draw the plan of an epoch and run steps of it on a pretended GPU; refuse the first wait that it has logged."""
    for progress, rate in SCHEDULE:
        before = len(gpu.waits)
        columns = running.begin(0).flatten(1)
        drawing = [wait for wait in gpu.waits[before:] if wait.kind in READING]
        running.set_to(progress, rate)
        before = len(gpu.waits)
        running.step(columns)
        if waits := drawing + gpu.waits[before:]:
            wait = waits[0]
            file, line = subject.file, wait.line(subject.file)
            if line is None:
                file, line = Path(wait.lines[0][0]), wait.lines[0][1]
            raise Broken(f"{wait} ({file.name}, line {line})")


def graph(subject: Subject) -> str:
    """Captured in CUDA graphs, killed and resumed, every stage gives the numbers of eager steps."""
    before, position = foundation(subject.chain[:-1], subject.tiny)
    expected = reference(subject.chain)
    with on_gpu(subject) as (device, gpu):
        go = functools.partial(train, subject.method, before, position, change=same_length)
        if gpu is None:
            expected = go(subject.tiny.task(device=device))
        found = go(subject.tiny.task(device=device, tier="graph"), lambda: Memory(dies=True))
        found = [state | {"network": {name: v.cpu() for name, v in state["network"].items()}} for state in found]
    for state in found:
        if state["losses"] and state["tier"] != "graph" and not subject.method.eager_only:
            raise Broken(state["tier_reason"])
    if gpu is None:
        if not all(close(a["losses"], b["losses"]) for a, b in zip(found, expected, strict=True)):
            raise Broken("the losses differ from those of eager steps")
        return "on a GPU"
    what = differences(expected, found)
    if not what and not torch.equal(expected[-1]["logits"]["test"], found[-1]["logits"]["test"]):
        what = "the logits"
    if what:
        raise Broken(
            f"replaying the captured step changes {what}: the step uses a value of the host that changes, or replaces "
            "a tensor instead of changing it in place"
        )
    return f"on a pretended GPU, {sum(gpu.captures)} operations captured"


def close(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether two series of losses differ by at most 0.1 %."""
    return all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(ones, others, strict=True))
