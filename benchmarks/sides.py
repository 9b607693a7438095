"""Two sides of a benchmark, each in a process of its own, so that neither has the other's settings."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.in_turn import CPU, Work, in_turn
from ltbench.data import Imbalance, LongTailed, Split, cut, load
from ltbench.data.images import ImageSet
from ltbench.engine.networks import network
from ltbench.engine.process import numerics, prepare
from ltbench.engine.stage import RunningStage, compiled
from ltbench.engine.task import Task
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES, Recipe

Side = Callable[[], Work]
"""Prepares one measurement; what it returns is timed."""


def cifar10_lt(images: str | None, imbalance: Imbalance) -> LongTailed:
    """CIFAR-10-LT from a folder of its images, or noise of its shape."""
    if images is not None:
        return cut(load("cifar10", where={"cifar10": f"imagefolder:{images}"}), imbalance)
    generator = np.random.default_rng(0)

    def noise(a_class: int) -> Split:
        pixels = generator.integers(256, size=(10 * a_class, 32, 32, 3), dtype=np.uint8)
        return Split(pixels, np.repeat(np.arange(10), a_class))

    return cut(ImageSet("noise", tuple("0123456789"), noise(5000), noise(10)), imbalance)


def one_epoch(recipe: Recipe) -> Recipe:
    """A recipe of one epoch."""
    return recipe.changed({"epochs": 1, "warmup_epochs": 0})


def engine_side(images: str | None, imbalance: Imbalance, precision: str, fused: bool = False) -> Side:
    """One training epoch of ``ce`` in the engine.

    Args:
        fused: compile the backbone, so that batch norm, ReLU and additions are fused.
    """
    prepare()
    task = Task.of(cifar10_lt(images, imbalance), one_epoch(RECIPES["ldam"]).changed({"precision": precision}), 0, CPU)
    method = Method()
    run = compiled(task.recipe.batch_size) if fused else None

    def ready() -> Callable[[], None]:
        running = RunningStage(method, method.stages()[0], 0, task)
        running.net.run = run or running.net.run

        def epoch() -> None:
            with numerics(strict=False):
                running.train(running.begin(0))

        return epoch

    return ready


def plain_side(images: str | None, imbalance: Imbalance, workers: int) -> Side:
    """One training epoch of the plain loop."""
    from benchmarks.plain_loop import PlainLoop

    data = cifar10_lt(images, imbalance)
    recipe = one_epoch(RECIPES["ldam"])
    net = network(Method(), Task.of(data, recipe, 0, CPU), 0)
    loop = PlainLoop(net, data.train.images, data.train.labels, recipe, workers, CPU)
    return lambda: loop.epoch


def _serve(connection: Connection, make: Callable[[], Side]) -> None:
    side = make()
    while connection.recv():
        work = side()
        connection.send(None)
        connection.recv()
        work()
        connection.send(None)


class Elsewhere:
    """A side in a process of its own, so that it has none of the settings of another one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def prepare(self) -> None:
        """Make it ready to be timed."""
        self.connection.send(True)
        self.connection.recv()

    def work(self) -> None:
        """Do the work once; returns when it is done."""
        self.connection.send(True)
        self.connection.recv()

    def __call__(self) -> None:
        """Both."""
        self.prepare()
        self.work()


@contextmanager
def started(make: Callable[[], Side]) -> Iterator[Elsewhere]:
    """A side in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make))
    process.start()
    try:
        yield Elsewhere(ours)
    finally:
        ours.send(False)
        process.join()


def race(benchmark: Any, first: Callable[[], Side], second: Callable[[], Side], rounds: int, over: str) -> float:
    """Time the first side, in turn with the second, each in a process of its own; see `in_turn`."""
    with started(first) as a, started(second) as b:
        a.prepare()
        return in_turn(benchmark, a.work, b, rounds, over, prepare=a.prepare)
