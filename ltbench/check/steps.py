"""Checks on single steps: what they cost, whether they wait for the device, whether they can be captured."""

import functools
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.check.problem import CPU, TINY, Forgetful, Problem, foundation, same_length
from ltbench.check.subject import Broken, NotApplicable, Subject
from ltbench.check.watch import watched
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.step import Eager, Epochs, Static
from ltbench.engine.task import Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method, Stage
from ltbench.plan.recipe import RECIPES

SCHEDULE = ((0.0, 0.1), (0.9, 0.05))  # progress and learning rate: early and late in training
TOLERANCE = 0.15  # of the cost, at least of 1
FULL = Problem((5, 1, 1, 1), 32, 1, RECIPES["ldam"].changed({"epochs": 10, "batch_size": 8}))
"""One step of the literature's network on images of its size, for counting what it costs."""


def trained_stages(subject: Subject) -> list[tuple[Stage, int]]:
    """The stages of its own that train, each with its position.

    Raises:
        NotApplicable: where there is none, or the method declines to be captured.
    """
    if subject.method.eager_only:
        raise NotApplicable(f"it declares: {subject.method.eager_only}")
    _, position = foundation(subject.chain[:-1], TINY)
    stages = enumerate(subject.method().stages(), position)
    found = [(same_length(stage), at) for at, stage in stages if stage.epochs]
    if not found:
        raise NotApplicable("it trains nothing of its own")
    return found


def cost(subject: Subject) -> str:
    """The declared cost is what is counted: floating-point operations of all its stages relative to plain training."""
    methods = [make() for make in subject.chain]
    stages = [(method, stage) for method in methods for stage in method.stages()]
    counted = sum(
        stage.epochs * stage_flops(method, stage, position) / plain_flops()
        for position, (method, stage) in enumerate(stages)
        if stage.epochs
    )
    declared = subject.method.cost
    if abs(counted - declared) > TOLERANCE * max(1.0, counted):
        raise Broken(f"cost = {declared:g} is declared, {counted:.2f} counted")
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
    before, _ = foundation(subject.chain[:-1], TINY)
    for stage, position in trained_stages(subject):
        running = RunningStage(subject.method(), stage, position, TINY.task(device=subject.device), before)
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
    """With every tensor in a fixed place, as a CUDA graph has them, steps give the eager numbers bit for bit."""
    before, _ = foundation(subject.chain[:-1], TINY)
    task = TINY.task()

    def numbers(stage: Stage, position: int, runner: type[Eager] | type[Static]) -> tuple[list[float], RunningStage]:
        running = RunningStage(subject.method(), stage, position, task, before)
        plan, size = running.begin(0), task.recipe.batch_size
        run: Epochs = Eager(running.step, size) if runner is Eager else Static(running.step, plan.shape, size, CPU)
        losses = []
        for progress, rate in SCHEDULE:
            running.set_to(progress, rate)
            losses += run(plan)
        return losses, running

    for stage, position in trained_stages(subject):
        wanted, eager = numbers(stage, position, Eager)
        losses, static = numbers(stage, position, Static)
        if losses != wanted:
            raise Broken("the losses differ from those of eager steps")
        state = static.net.state_dict()
        if wrong := [name for name, value in eager.net.state_dict().items() if not torch.equal(value, state[name])]:
            raise Broken(f"{wrong[0]} differs from that of eager steps")
    return ""


def graph(subject: Subject) -> str:
    """Every stage is captured in a CUDA graph, and its losses are those of eager steps."""
    stages = trained_stages(subject)
    if subject.device.type != "cuda":
        raise NotApplicable("no GPU here")
    before, _ = foundation(subject.chain[:-1], TINY)

    def trained(stage: Stage, position: int, tier: Tier) -> State:
        task = TINY.task(device=subject.device, tier=tier)
        return train_stage(RunningStage(subject.method(), stage, position, task, before), Forgetful())

    for stage, position in stages:
        captured, eager = trained(stage, position, "graph"), trained(stage, position, "eager")
        if captured["tier"] != "graph":
            raise Broken(captured["tier_reason"])
        if not close(captured["losses"], eager["losses"]):
            raise Broken("the losses differ from those of eager steps")
    return ""


def close(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether two series of losses agree to a thousandth."""
    return all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(ones, others, strict=True))
