"""What is paid before the first step and beside the steps: ``pytest benchmarks/test_startup.py -s [--device cuda]``."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.in_turn import Work, in_turn
from benchmarks.steps import Steps, noise
from ltbench.engine.networks import network
from ltbench.engine.process import prepare
from ltbench.engine.task import Task
from ltbench.method.contract import Method
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.recipe import RECIPES
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.environment import environment
from ltbench.runner.options import RunOptions
from ltbench.runner.workers import trainer


@pytest.mark.parametrize(
    "code",
    ["import ltbench.cli", "import torch", "import ltbench.runner.one_cell, ltbench.method.registry"],
    ids=["command line", "torch alone", "what a worker imports"],
)
def test_imports(benchmark: Any, rounds: int, device: torch.device, code: str) -> None:
    """A fresh interpreter that imports this, over one that imports nothing."""

    def python(what: str) -> Work:
        return lambda: subprocess.run([sys.executable, "-c", what], check=True)

    ratio = in_turn(benchmark, python(code), python("pass"), rounds, "an empty interpreter", device)
    seconds = benchmark.stats.stats.median * (1 - 1 / ratio)
    benchmark.extra_info.update(seconds_beyond_python=seconds)
    print(f"\n{code}: {seconds:.2f} s", flush=True)


BEGIN = ("data", "network", "capture", "first step")


@pytest.mark.parametrize("part", BEGIN)
def test_before_the_first_step(benchmark: Any, rounds: int, device: torch.device, part: str) -> None:
    """Of CIFAR-100-LT and ResNet-32: data to the device, network, capture, first step, each over a later step."""
    if part == "capture" and device.type != "cuda":
        pytest.skip("needs a GPU")
    prepare()
    recipe, data = RECIPES["ldam"], noise(100, 108)
    tier: Any = "graph" if device.type == "cuda" else "eager"
    task = Task.of(data, recipe, 0, device)
    later, fresh = Steps(Method(), data, recipe, device, tier), [Steps(Method(), data, recipe, device, tier)]

    def renew() -> None:
        if part == "first step":
            fresh[:] = [Steps(Method(), data, recipe, device, tier)]

    def work() -> None:
        if part == "data":
            Task.of(data, recipe, 0, device)
        elif part == "network":
            network(Method(), task, 0).to(device)
        elif part == "capture":
            Steps(Method(), data, recipe, device, tier)  # and all that comes before it
        else:
            fresh[0].losses()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    ratio = in_turn(benchmark, work, later.losses, rounds, "a later step", device, prepare=renew)
    benchmark.extra_info.update(tier=later.tier)
    print(f"\n{part}: {1000 * benchmark.stats.stats.median:.1f} ms, {ratio:.2f} x a later step", flush=True)


def test_harness_overhead_on_the_quickstart_suite(benchmark: Any, device: torch.device, tmp_path: Path) -> None:
    """Share of everything but training and evaluation, with one worker, imports and the reading of data not counted."""
    library, store = Library(), Store(tmp_path / "results")
    options = RunOptions(device=str(device), workers=1)
    planned = make_plan(Request(), library)
    with trainer(store, options, library) as train:
        train(make_plan(Request(seeds=(9,), methods=("ce",)), library))  # warm up
        benchmark.pedantic(train, (planned,))
    wall = benchmark.stats.stats.median
    ids = {p.cell.id for p in planned.cells}
    costs = [record.finished.cost for cell, record in store.latest().items() if cell in ids]
    beside = wall - sum(cost.work_seconds for cost in costs)
    benchmark.extra_info.update(
        overhead_share=beside / wall, seconds_a_cell=beside / len(costs), **vars(environment(device))
    )
    print(
        f"\nharness: {100 * beside / wall:.1f} % of {wall:.1f} s, {1000 * beside / len(costs):.0f} ms a cell",
        flush=True,
    )
