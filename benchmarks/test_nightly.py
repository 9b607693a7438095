"""The quick benchmarks of ``ltbench nightly``, each over a few steps of the plain loop, which are timed in turn.

``pytest benchmarks/test_nightly.py -s``: about two minutes. One thread, as a worker on a CPU has; ResNet-8, generated
images of 16 x 16.
"""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from benchmarks.in_turn import Work, in_turn
from benchmarks.plain_loop import PlainLoop
from benchmarks.steps import Steps, noise
from ltbench.data import LongTailed
from ltbench.engine import epoch_plan
from ltbench.engine.evaluate import evaluate
from ltbench.engine.networks import network
from ltbench.engine.process import numerics, prepare
from ltbench.engine.task import Task
from ltbench.errors import InputError
from ltbench.method.contract import Method
from ltbench.method.registry import discover
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.recipe import RECIPES, Strong
from ltbench.plan.request import Request
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.workers import trainer

RECIPE = RECIPES["ldam"].changed({"backbone": "resnet8_cifar", "batch_size": 64, "precision": "fp32"})
COUNT = 2
"""Steps of every side."""
TIMES = 20
"""How often a batch is augmented in each of its rounds."""
TRAINED = [name for name, entry in discover().items() if entry.method().stages()[-1].epochs]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limit torch to one thread."""
    prepare()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def data() -> LongTailed:
    """As many images of 10 classes as the steps draw, rounded up."""
    return noise(10, -(-COUNT * RECIPE.batch_size // 10), 20, 16)


@functools.cache
def plain(device: torch.device) -> Work:
    """A few steps of the plain loop, without worker processes."""
    net = network(Method(), Task.of(data(), RECIPE, 0, device), 0).to(device)
    split = data().train.take(np.arange(COUNT * RECIPE.batch_size))
    return PlainLoop(net, split.images, split.labels, RECIPE, 0, device).epoch


@functools.cache
def engine(device: torch.device) -> Steps:
    """Steps of plain training in the engine."""
    return Steps(Method(), data(), RECIPE, device, count=COUNT)


@pytest.mark.parametrize("name", TRAINED)
def test_step(benchmark: Any, rounds: int, device: torch.device, name: str) -> None:
    """Steps of a method's last stage."""
    try:
        steps = Steps(discover()[name].method(), data(), RECIPE, device, count=COUNT)
    except InputError as why:  # it needs another backbone
        pytest.skip(str(why))
    in_turn(benchmark, steps.losses, plain(device), rounds, device=device)


@pytest.mark.parametrize("augment", get_args(Strong))
def test_batch(benchmark: Any, rounds: int, device: torch.device, augment: str) -> None:
    """Augmented batches."""
    steps = Steps(Method(), data(), RECIPE.changed({"augment": augment}), device, count=COUNT)

    def batches() -> None:
        for columns in torch.split(steps.plan, RECIPE.batch_size, dim=2) * TIMES:
            steps.running.batch(columns.flatten(1))
        if device.type == "cuda":
            torch.cuda.synchronize()

    in_turn(benchmark, batches, plain(device), rounds, device=device)


def test_plan_of_an_epoch(benchmark: Any, rounds: int, device: torch.device) -> None:
    """The random numbers of an epoch of a million images."""
    task = engine(device).running.task
    draw = functools.partial(epoch_plan.draw, task.pool, Method.streams, 1_000_000, 0.0, task.training.augmentations)
    in_turn(benchmark, lambda: draw((0, 0, 0)), plain(device), rounds, device=device)


def test_evaluation(benchmark: Any, rounds: int, device: torch.device) -> None:
    """Evaluation of 200 images, metrics included."""
    running = engine(device).running

    def evaluated() -> None:
        with numerics(strict=False):
            evaluate(running)

    in_turn(benchmark, evaluated, plain(device), rounds, device=device, prepare=running.net.train)


def test_command_line(benchmark: Any, rounds: int, device: torch.device) -> None:
    """A new process that imports the command line."""
    command = [sys.executable, "-c", "import ltbench.cli"]
    in_turn(benchmark, lambda: subprocess.run(command, check=True), plain(device), rounds, device=device)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The results of a few cells."""
    store, library, options = Store(tmp_path_factory.mktemp("results")), Library(), RunOptions(device="cpu", workers=1)
    request = Request(methods=("ce", "focal"), seeds=(0, 1), changes={"recipe.epochs": 1})
    with trainer(store, options, library) as train:
        train(make_plan(request, library))
    return store


def test_leaderboard(benchmark: Any, rounds: int, device: torch.device, trained: Store) -> None:
    """The leaderboard of a small results folder, which is read again."""
    in_turn(benchmark, lambda: leaderboard(load_results(trained.root)), plain(device), rounds, device=device)


def test_cell(benchmark: Any, rounds: int, device: torch.device, tmp_path: Path) -> None:
    """One epoch of one cell of the quickstart, from the plan to the stored record."""
    library, options, folders = Library(), RunOptions(device="cpu", workers=1), iter(range(1000))
    request = Request(methods=("ce",), seeds=(0,), imbalance=("100",), changes={"recipe.epochs": 1})

    def cell() -> None:
        with trainer(Store(tmp_path / str(next(folders))), options, library) as train:
            train(make_plan(request, library))

    in_turn(benchmark, cell, plain(device), rounds, device=device)
