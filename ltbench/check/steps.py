"""Checks on single steps: their cost, whether they wait for the device, whether they can be captured."""

import functools
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.check.problem import CPU, TINY, Forgetful, Problem, foundation, start
from ltbench.check.subject import Broken, NotApplicable, Subject
from ltbench.check.watch import watched
from ltbench.engine.stage import RunningStage
from ltbench.engine.step import Eager, Epochs, Static
from ltbench.engine.task import Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method, Stage
from ltbench.plan.recipe import RECIPES

SCHEDULE = ((0.0, 0.1), (0.9, 0.05))  # progress and learning rate: early and late in training
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


def started(subject: Subject, index: int, device: torch.device, tier: Tier = "eager") -> RunningStage:
    """One of the method's own stages on the tiny problem, before its first step."""
    before, position = foundation(subject.chain[:-1], TINY)
    return start(subject.method, index, position, TINY.task(device=device, tier=tier), before)


def cost(subject: Subject) -> str:
    """The declared cost is that of all stages together: floating-point operations relative to plain training."""
    methods = [make() for make in subject.chain]
    stages = [(method, stage) for method in methods for stage in method.stages()]
    counted = sum(
        stage.epochs * stage_flops(method, stage, position) / plain_flops()
        for position, (method, stage) in enumerate(stages)
        if stage.epochs
    )
    declared = subject.method.cost
    if abs(counted - declared) > TOLERANCE * max(1.0, counted):
        raise Broken(f"the file declares cost = {declared:g}, but the operations of all stages give {counted:.2f}")
    return f"declared {declared:g}, counted {counted:.2f}"


@functools.cache
def plain_flops() -> int:
    """Floating-point operations of one step of plain training."""
    return stage_flops(Method(), Stage(), 0)


def stage_flops(method: Method, stage: Stage, position: int) -> int:
    """Floating-point operations of one step of a stage, forward and backward."""
    running = RunningStage(method, stage, position, FULL.task())
    columns = running.begin(0).flatten(1)
    counter = FlopCounterMode(display=False)
    with counter:
        running.step(columns)
    return int(counter.get_total_flops())


def no_waiting(subject: Subject) -> str:
    """No step of any stage makes the host wait for the device."""
    on_gpu = subject.device.type == "cuda"
    for index in trained_stages(subject):
        running = started(subject, index, subject.device)
        columns = running.begin(0).flatten(1)
        for progress, rate in SCHEDULE:
            running.set_to(progress, rate)
            if not on_gpu:
                with watched():
                    running.step(columns)
                continue
            running.step(columns)  # the first step may wait while it sets things up
            torch.cuda.set_sync_debug_mode("error")
            try:
                running.step(columns)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    return "by CUDA's sync debug mode" if on_gpu else "watched on the CPU"


def fixed_places(subject: Subject) -> str:
    """With every tensor at a fixed address, as in a CUDA graph, steps give the eager numbers bit for bit."""

    def numbers(index: int, runner: type[Eager] | type[Static]) -> tuple[list[float], RunningStage]:
        running = started(subject, index, CPU)
        plan, size = running.begin(0), TINY.recipe.batch_size
        run: Epochs = Eager(running.step, size) if runner is Eager else Static(running.step, plan.shape, size, CPU)
        losses = []
        for progress, rate in SCHEDULE:
            running.set_to(progress, rate)
            losses += run(plan)
        return losses, running

    for index in trained_stages(subject):
        expected, eager = numbers(index, Eager)
        losses, static = numbers(index, Static)
        if losses != expected:
            raise Broken("the losses differ from those of eager steps")
        state = static.net.state_dict()
        if wrong := [name for name, value in eager.net.state_dict().items() if not torch.equal(value, state[name])]:
            raise Broken(f"{wrong[0]} differs from that of eager steps")
    return ""


def graph(subject: Subject) -> str:
    """Every stage can be captured in a CUDA graph, and its losses are those of eager steps."""
    stages = trained_stages(subject)
    if subject.device.type != "cuda":
        raise NotApplicable("no GPU here")
    for index in stages:
        captured = train_stage(started(subject, index, subject.device, "graph"), Forgetful())
        eager = train_stage(started(subject, index, subject.device, "eager"), Forgetful())
        if captured["tier"] != "graph":
            raise Broken(captured["tier_reason"])
        if not close(captured["losses"], eager["losses"]):
            raise Broken("the losses differ from those of eager steps")
    return ""


def close(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether two series of losses differ by at most 0.1 %."""
    return all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(ones, others, strict=True))
