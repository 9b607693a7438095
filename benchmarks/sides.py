"""The two sides of a race, each in a process of its own, so that neither has the other's settings."""

import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
import torch

from ltbench.data import Imbalance, LongTailed, Split, cut, load
from ltbench.data.images import ImageSet
from ltbench.engine.process import prepare
from ltbench.engine.stage import RunningStage, compiled, network
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.runner.checkpoint import StageFile

CPU = torch.device("cpu")


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
    """A recipe of one epoch, evaluated nowhere but at its end (which is not timed)."""
    return recipe.changed({"epochs": 1, "warmup_epochs": 0})


def engine_side(images: str | None, imbalance: Imbalance, precision: str, fused: bool = False) -> Callable[[], float]:
    """Seconds of one training epoch of ``ce`` in the engine.

    Args:
        fused: compile the backbone, so that batch norm, ReLU and additions are fused.
    """
    from pathlib import Path

    prepare()
    task = Task.of(cifar10_lt(images, imbalance), one_epoch(RECIPES["ldam"]).changed({"precision": precision}), 0, CPU)
    method = Method()
    nowhere = StageFile(Path("does-not-exist"), CPU, float("inf"))

    def epoch() -> float:
        running = RunningStage(method, method.stages()[0], 0, task)
        if fused:
            running.net.run = compiled(task.recipe.batch_size)
        return float(train_stage(running, nowhere)["train_seconds"])

    return epoch


def plain_side(images: str | None, imbalance: Imbalance, workers: int) -> Callable[[], float]:
    """Seconds of one training epoch of the plain loop."""
    from benchmarks.plain_loop import PlainLoop

    data = cifar10_lt(images, imbalance)
    recipe = one_epoch(RECIPES["ldam"])
    net = network(Method(), Task.of(data, recipe, 0, CPU), 0)
    loop = PlainLoop(net, data.train.images, data.train.labels, recipe, workers, CPU)

    def epoch() -> float:
        started = time.perf_counter()
        loop.epoch()
        return time.perf_counter() - started

    return epoch


def _serve(connection: Connection, make: Callable[[], Callable[[], float]]) -> None:
    side = make()
    while connection.recv():
        connection.send(side())


@contextmanager
def started(make: Callable[[], Callable[[], float]]) -> Iterator[Callable[[], float]]:
    """A side in a process of its own; calling it measures once."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make))
    process.start()

    def measure() -> float:
        ours.send(True)
        return float(ours.recv())

    try:
        yield measure
    finally:
        ours.send(False)
        process.join()


def race(
    first: functools.partial[Callable[[], float]], second: functools.partial[Callable[[], float]], rounds: int
) -> tuple[list[float], list[float], float]:
    """Measure two sides in turn, after one round that does not count.

    Returns:
        Seconds of each side, and how many times as fast the first is (ratio of medians).
    """
    with started(first) as a, started(second) as b:
        a(), b()
        times = [(a(), b()) for _ in range(rounds)]
    ours, theirs = [t for t, _ in times], [t for _, t in times]
    return ours, theirs, statistics.median(theirs) / statistics.median(ours)
