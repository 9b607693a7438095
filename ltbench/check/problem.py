"""Small long-tailed problems for the checks, and the training of a method on them."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ltbench.data import LongTailed, Split
from ltbench.engine.networks import network
from ltbench.engine.process import prepare
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.errors import InputError
from ltbench.method.contract import Method, Stage
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.randomness import generator

CPU = torch.device("cpu")
NOISE = 25.0  # standard deviation, of 255


@dataclass(frozen=True)
class Problem:
    """Noisy images of 2x2 coloured squares, with a pattern for each class.

    Attributes:
        counts: training images of each class.
        size: side of an image in pixels.
        held_out: images of each class in the validation and in the test split.
        recipe: how to train.
    """

    counts: tuple[int, ...]
    size: int
    held_out: int
    recipe: Recipe

    @functools.cached_property
    def data(self) -> LongTailed:
        """The images."""
        held_out = (self.held_out,) * len(self.counts)
        train, val, test = (
            self.images(self.counts, "train"),
            self.images(held_out, "val"),
            self.images(held_out, "test"),
        )
        return LongTailed(train, val, test, self.counts, mean=(0.5,) * 3, std=(0.3,) * 3)

    def images(self, counts: tuple[int, ...], split: str) -> Split:
        """Images with these counts [C] per class; ``split`` keys the noise."""
        patterns = generator("patterns").integers(40, 216, size=(len(counts), 2, 2, 3))
        labels = np.repeat(np.arange(len(counts)), counts)
        clean = np.kron(patterns, np.ones((1, self.size // 2, self.size // 2, 1)))[labels]
        noisy = clean + generator("noise", split).normal(0, NOISE, size=clean.shape)
        return Split(noisy.clip(0, 255).astype(np.uint8), labels)

    def task(self, seed: int = 0, device: torch.device = CPU, tier: Tier = "eager") -> Task:
        """The problem in the form that the engine needs."""
        prepare()
        return Task.of(self.data, self.recipe, seed, device, tier=tier)


EASY = Problem(
    (32, 20, 12, 8, 6), 8, 20, RECIPES["digits"].changed({"epochs": 20, "batch_size": 8, "evaluate_every": 20})
)
"""Enough training to distinguish a method that learns the rare classes from one that does not."""
TINY = Problem(
    (9, 4, 2, 1),
    8,
    3,
    RECIPES["digits"].changed(
        {"epochs": 3, "batch_size": 6, "evaluate_every": 1, "precision": "fp32-strict", "schedule": "cosine"}
    ),
)
"""Three steps per epoch, the last with a partial batch, for what must hold bit for bit. One class has one image.

The learning rate changes in every epoch, so that a rate that was captured by value is found."""


class Memory:
    """A checkpoint in memory.

    Args:
        dies: raise KeyboardInterrupt after the first save, as if the process were killed.
    """

    def __init__(self, dies: bool = False) -> None:
        self.state: State | None = None
        self.dies = dies

    def load(self) -> State | None:
        """A copy of the last saved state."""
        return copy.deepcopy(self.state)

    def due(self) -> bool:
        """After every epoch."""
        return True

    def save(self, state: State) -> None:
        """Save a copy."""
        self.state = copy.deepcopy(state)
        if self.dies:
            raise KeyboardInterrupt


class Forgetful(Memory):
    """A checkpoint that is never due."""

    def due(self) -> bool:
        """Never."""
        return False


def same_length(stage: Stage) -> Stage:
    """The stage with the recipe's epochs; a post-hoc step stays without training."""
    return replace(stage, epochs=1.0) if stage.epochs else stage


def start(
    make: Callable[[], Method],
    index: int,
    position: int,
    task: Task,
    before: State | None,
    change: Callable[[Stage], Stage] = same_length,
) -> RunningStage:
    """A stage of a new method object, as after a restart of the process.

    Args:
        make: makes the method.
        index: of the stage among those of the method.
        position: number of stages of the methods before.
        task: what to train on.
        before: results of the stage before.
        change: applied to the stage.
    """
    method = make()
    return RunningStage(method, change(method.stages()[index]), position + index, task, before)


def train(
    make: Callable[[], Method],
    before: State | None,
    position: int,
    task: Task,
    memory: Callable[[], Memory] = Forgetful,
    change: Callable[[Stage], Stage] = lambda stage: stage,
) -> list[State]:
    """Train all stages of one method; returns their results.

    Args:
        memory: makes the checkpoint of a stage. Where it dies, the stage is resumed from it.
        make, before, position, task, change: see ``start``.
    """
    states: list[State] = []
    for index in range(len(make().stages())):
        kept, last = memory(), states[-1] if states else before
        try:
            state = train_stage(start(make, index, position, task, last, change), kept)
        except KeyboardInterrupt:
            kept.dies = False
            state = train_stage(start(make, index, position, task, last, change), kept)
        states.append(state)
    return states


@functools.cache
def suited(problem: Problem, chain: tuple[type[Method], ...]) -> Problem:
    """The problem; on larger images and with a small vision transformer where methods cannot change its own backbone.

    Args:
        chain: the methods that are trained one after another.
    """
    try:
        for make in chain:
            network(make(), problem.task(), 0)
    except InputError:
        return replace(problem, size=32, recipe=problem.recipe.changed({"backbone": "test_vit"}))
    return problem


@functools.cache
def foundation(chain: tuple[type[Method], ...], problem: Problem, seed: int = 0) -> tuple[State | None, int]:
    """The results of training these methods one after another, and their number of stages."""
    if not chain:
        return None, 0
    before, position = foundation(chain[:-1], problem, seed)
    states = train(chain[-1], before, position, problem.task(seed))
    return states[-1], position + len(states)


def differences(one: list[State], other: list[State]) -> str:
    """The first difference between two trainings, bit for bit, in a few words; empty where there is none."""
    for number, (a, b) in enumerate(zip(one, other, strict=True), 1):
        at = f" of stage {number}" if len(one) > 1 else ""
        weights: dict[str, Tensor] = a["network"]
        changed = [name for name, value in weights.items() if not torch.equal(value, b["network"][name])]
        if a["losses"] != b["losses"]:
            return f"the losses{at}"
        if changed:
            return f"{changed[0]}{at}"
    return ""
