"""What a method costs beyond its declared passes, and what the harness costs beyond training.

``pytest benchmarks/test_cost.py -s``
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.sides import CPU
from ltbench.data import Imbalance, Split, cut
from ltbench.data.images import ImageSet
from ltbench.engine import plan
from ltbench.engine.process import prepare
from ltbench.engine.train import Task, optimiser_of, step_of
from ltbench.execute import environment, network
from ltbench.executor import Settings, execute
from ltbench.method import Clock, Method
from ltbench.recipe import RECIPES
from ltbench.registry import discover
from ltbench.runner import Request, make_plan
from ltbench.store import Store


class TimedStep:
    """One step of a method's last stage, on generated images of CIFAR's shape."""

    def __init__(self, method: Method, classes: int) -> None:
        generator = np.random.default_rng(0)
        labels = np.arange(max(512, classes)) % classes
        split = Split(generator.integers(256, size=(len(labels), 32, 32, 3), dtype=np.uint8), labels)
        data = cut(ImageSet("noise", tuple(map(str, range(classes))), split, split), Imbalance("natural"))
        recipe = RECIPES["ldam"].changed({"backbone": "resnet20_cifar"})
        task = Task.of(data, recipe, 0, CPU)
        net = network(method, task, 0).to(memory_format=torch.channels_last).train()
        method.setup(torch.tensor(data.counts, dtype=torch.float64))
        stage = method.stages()[-1]
        optimiser, clock = optimiser_of(net, stage, recipe, CPU), Clock(torch.zeros(()))
        optimiser.param_groups[0]["lr"].fill_(1e-3)
        self.step = step_of(net, method, stage, task, optimiser, clock)
        drawn = plan.draw(task.pool, method.streams, 128, 0.0, 4, True, (0, 0, 0))
        self.columns = drawn.flatten(1)

    def seconds(self) -> float:
        """One step."""
        started = time.perf_counter()
        self.step(self.columns)
        return time.perf_counter() - started


@pytest.mark.parametrize("classes", [100, 8142])
def test_methods_beyond_their_declared_passes(benchmark: Any, rounds: int, classes: int) -> None:
    """A step's time over that of plain training times the declared cost, in turn; two-stage methods are left out."""
    prepare()
    registry = discover()
    methods = {name: entry.method() for name, entry in registry.items() if entry.method.after is None}
    steps = {name: TimedStep(method, classes) for name, method in methods.items()}
    plain = TimedStep(Method(), classes)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for measured in range(4 * rounds + 2):
        for name, step in steps.items():
            ratio = step.seconds() / plain.seconds() / methods[name].cost
            if measured >= 2:
                ratios[name].append(ratio)
    found = {name: statistics.median(values) for name, values in ratios.items()}
    benchmark.pedantic(plain.seconds, rounds=3)
    benchmark.extra_info.update(classes=classes, ratios=found, **environment(CPU))
    print(f"\n{classes} classes:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.items()), flush=True)


def test_harness_overhead_on_the_quickstart_suite(benchmark: Any, tmp_path: Path) -> None:
    """Share of everything but training and evaluation, with one worker, imports and the reading of data not counted."""
    planned = make_plan(Request("quickstart"))
    store = Store(tmp_path / "results")
    execute(make_plan(Request("quickstart", seeds=(9,), methods=("ce",))), store, Settings("cpu", workers=1))  # warm up
    started = time.perf_counter()
    benchmark.pedantic(execute, (planned, store, Settings("cpu", workers=1)))
    wall = time.perf_counter() - started
    ids = {p.cell.id for p in planned.cells}
    costs = [record["cost"] for cell, record in store.latest().items() if cell in ids]
    share = 1 - sum(cost["work_seconds"] for cost in costs) / wall
    benchmark.extra_info.update(overhead_share=share, wall_seconds=wall, **environment(CPU))
    print(f"\nharness overhead: {100 * share:.1f} % of {wall:.1f} s", flush=True)
