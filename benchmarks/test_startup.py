"""What is paid before the first step and beside the steps: ``pytest benchmarks/test_startup.py -s [--device cuda]``."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.steps import Steps, noise
from ltbench.engine.process import prepare
from ltbench.engine.stage import network
from ltbench.engine.task import Task
from ltbench.method.contract import Method
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.recipe import RECIPES
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.environment import environment
from ltbench.runner.options import RunOptions
from ltbench.runner.workers import execute


@pytest.mark.parametrize(
    "code",
    ["import ltbench.cli", "import torch", "import ltbench.runner.one_cell, ltbench.method.registry"],
    ids=["command line", "torch alone", "what a worker imports"],
)
def test_imports(benchmark: Any, rounds: int, device: torch.device, code: str) -> None:
    """A fresh interpreter that imports this, over one that imports nothing."""

    def python(what: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", what], check=True)
        return time.perf_counter() - started

    benchmark.pedantic(python, (code,), rounds=rounds, warmup_rounds=1)
    nothing = statistics.median(python("pass") for _ in range(rounds))
    seconds = benchmark.stats.stats.median - nothing
    benchmark.extra_info.update(seconds_beyond_python=seconds, **vars(environment(device)))
    print(f"\n{code}: {seconds:.2f} s", flush=True)


def test_before_the_first_step(benchmark: Any, rounds: int, device: torch.device) -> None:
    """Of CIFAR-100-LT and ResNet-32: data to the device, network, capture, first step, each over a later step."""
    prepare()
    recipe, data = RECIPES["ldam"], noise(100, 108)
    tier: Any = "graph" if device.type == "cuda" else "eager"
    task = Task.of(data, recipe, 0, device)

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        steps = Steps(Method(), data, recipe, device, tier)
        for name, spent in {
            "data": timed(lambda: Task.of(data, recipe, 0, device)),
            "network": timed(lambda: network(Method(), task, 0).to(device)),
            "capture": steps.capture_seconds if steps.tier != "eager" else 0.0,
            "first step": timed(steps.losses),
            "later step": timed(steps.losses),
        }.items():
            seconds.setdefault(name, []).append(spent)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    benchmark.pedantic(lambda: network(Method(), task, 0).to(device), rounds=rounds)
    ratios = {name: value / found["later step"] for name, value in found.items()}
    benchmark.extra_info.update(tier=steps.tier, seconds=found, ratio_to_a_step=ratios, **vars(environment(device)))
    print("\n" + ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in found.items()), flush=True)


def test_harness_overhead_on_the_quickstart_suite(benchmark: Any, device: torch.device, tmp_path: Path) -> None:
    """Share of everything but training and evaluation, with one worker, imports and the reading of data not counted."""
    library, store = Library(), Store(tmp_path / "results")
    options = RunOptions(device=str(device), workers=1)
    planned = make_plan(Request(), library)
    execute(make_plan(Request(seeds=(9,), methods=("ce",)), library), store, options, library)  # warm up
    benchmark.pedantic(execute, (planned, store, options, library))
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
