"""Small long-tailed problems on which methods are examined, and the training of a method on them."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ltbench.data import LongTailed, Split
from ltbench.engine.process import prepare
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method, Stage
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.randomness import generator

CPU = torch.device("cpu")
NOISE = 25.0  # standard deviation, of 255


@dataclass(frozen=True)
class Problem:
    """Noisy patterns of 2x2 coloured squares, one pattern a class.

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
        """So many images of each class; ``split`` keys the noise."""
        patterns = generator("patterns").integers(40, 216, size=(len(counts), 2, 2, 3))
        labels = np.repeat(np.arange(len(counts)), counts)
        clean = np.kron(patterns, np.ones((1, self.size // 2, self.size // 2, 1)))[labels]
        noisy = clean + generator("noise", split).normal(0, NOISE, size=clean.shape)
        return Split(noisy.clip(0, 255).astype(np.uint8), labels)

    def task(self, seed: int = 0, device: torch.device = CPU, tier: Tier = "eager") -> Task:
        """The problem as the engine takes it."""
        prepare()
        return Task.of(self.data, self.recipe, seed, device, tier=tier)


EASY = Problem(
    (32, 20, 12, 8, 6), 8, 20, RECIPES["digits"].changed({"epochs": 20, "batch_size": 8, "evaluate_every": 20})
)
"""Enough to tell a method that learns the tail from one that does not."""
TINY = Problem(
    (9, 4, 2, 1),
    8,
    3,
    RECIPES["digits"].changed({"epochs": 3, "batch_size": 6, "evaluate_every": 1, "precision": "fp32-strict"}),
)
"""Three steps an epoch, the last one partial: for what must hold bit for bit. One class has one image."""


class Memory:
    """A checkpoint in memory.

    Args:
        dies: whether it raises KeyboardInterrupt after the first save, as if the process were killed.
    """

    def __init__(self, dies: bool = False) -> None:
        self.state: State | None = None
        self.dies = dies

    def load(self) -> State | None:
        """What was saved last."""
        return copy.deepcopy(self.state)

    def due(self) -> bool:
        """After every epoch."""
        return True

    def save(self, state: State) -> None:
        """Keep a copy."""
        self.state = copy.deepcopy(state)
        if self.dies:
            raise KeyboardInterrupt


class Forgetful(Memory):
    """A checkpoint that is never due."""

    def due(self) -> bool:
        """Never."""
        return False


def same_length(stage: Stage) -> Stage:
    """The stage with the recipe's epochs, if it trains at all."""
    return replace(stage, epochs=1.0) if stage.epochs else stage


def train(
    make: Callable[[], Method],
    before: State | None,
    position: int,
    task: Task,
    memory: Callable[[], Memory] = Forgetful,
    change: Callable[[Stage], Stage] = lambda stage: stage,
) -> list[State]:
    """The stages of one method, each trained by a method object of its own, as after a restart of the process.

    Args:
        make: makes the method.
        before: what the methods before it left.
        position: stages before.
        task: what to train on.
        memory: makes the checkpoint of a stage; if it dies, the stage is resumed from it.
        change: applied to every stage.
    """
    states: list[State] = []
    for index in range(len(make().stages())):
        kept = memory()

        def go(index: int = index, kept: Memory = kept) -> State:
            method = make()
            stage = change(method.stages()[index])
            last = states[-1] if states else before
            return train_stage(RunningStage(method, stage, position + index, task, last), kept)

        try:
            states.append(go())
        except KeyboardInterrupt:
            kept.dies = False
            states.append(go())
    return states


@functools.cache
def foundation(chain: tuple[type[Method], ...], problem: Problem, seed: int = 0) -> tuple[State | None, int]:
    """What these methods, trained one after another, leave to the next one, and how many stages they have."""
    if not chain:
        return None, 0
    before, position = foundation(chain[:-1], problem, seed)
    states = train(chain[-1], before, position, problem.task(seed))
    return states[-1], position + len(states)


def differences(one: list[State], other: list[State]) -> str:
    """What differs between two trainings, bit for bit, in a few words; empty where nothing does."""
    for number, (a, b) in enumerate(zip(one, other, strict=True), 1):
        at = f" of stage {number}" if len(one) > 1 else ""
        weights: dict[str, Tensor] = a["network"]
        changed = [name for name, value in weights.items() if not torch.equal(value, b["network"][name])]
        if a["losses"] != b["losses"]:
            return f"the losses{at}"
        if changed:
            return f"{changed[0]}{at}"
    return ""
