"""Everything that wants to be known of a GPU, in one command: tests, speed, a long run. One JSON, one Markdown table.

    python -m benchmarks.gpu_check --out results/gpu        # under ten minutes on a GPU, no network
    python -m benchmarks.gpu_check --out DIR --tiny         # the same path in a minute, on whatever is there

It needs what the package itself needs, takes generated images of CIFAR-100-LT's shape or real ones (``--images``), and
asserts nothing: it measures, in the order of what decides what, and says which targets are met. Expected on an H200
(estimated, no GPU has run it): seven minutes. A part that no longer fits into ``--minutes`` is left out and named.
"""

import argparse
import functools
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.plain_loop import PlainLoop
from benchmarks.steps import Steps, side_by_side
from benchmarks.targets import verdicts
from ltbench.data import ImageSet, Imbalance, LongTailed, Split, cut, load
from ltbench.engine.process import device_of, prepare
from ltbench.engine.stage import RunningStage, State, network
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.method.contract import Method
from ltbench.method.registry import discover
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.runner.checkpoint import StageFile
from ltbench.runner.environment import environment

TIERS: tuple[Tier, ...] = ("eager", "graph", "compiled")


def cifar100_lt(images: str | None, tiny: bool) -> LongTailed:
    """10,847 training and 10,000 test images of 100 classes, generated or from a folder."""
    if images is not None:
        return cut(load(f"imagefolder:{images}", 32), Imbalance("exp", 100))
    generator = np.random.default_rng(0)

    def noise(a_class: int) -> Split:
        pixels = generator.integers(256, size=(100 * a_class, 32, 32, 3), dtype=np.uint8)
        return Split(pixels, np.repeat(np.arange(100), a_class))

    a_class = 20 if tiny else 500
    pictures = ImageSet("noise", tuple(map(str, range(100))), noise(a_class), noise(2 if tiny else 100))
    return cut(pictures, Imbalance("exp", 5 if tiny else 100))


class Nowhere(StageFile):
    """A checkpoint that is never written."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(Path("does-not-exist"), device, float("inf"))


def train(data: LongTailed, recipe: Recipe, device: torch.device, tier: Tier, method: Method) -> State:
    """One run of a method's first stage."""
    task = Task.of(data, recipe, 0, device, tier=tier)
    return train_stage(RunningStage(method, method.stages()[0], 0, task), Nowhere(device))


def plain_epoch(data: LongTailed, recipe: Recipe, device: torch.device) -> dict[str, float]:
    """Seconds of an epoch of the loop that everyone writes, the denominator, and of its loader alone."""
    net = network(Method(), Task.of(data, recipe, 0, device), 0).to(device)
    loop = PlainLoop(net, data.train.images, data.train.labels, recipe, 4, device)

    def seconds(work: Callable[[], Any]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    loop.epoch()
    return {"epoch": seconds(loop.epoch), "loader": seconds(lambda: list(loop.loader))}


def steps_of(data: LongTailed, recipe: Recipe) -> int:
    """Full batches in an epoch."""
    return len(data.train) // recipe.batch_size


def step_times(data: LongTailed, recipe: Recipe, device: torch.device) -> list[dict[str, Any]]:
    """Milliseconds per step of every tier and precision, medians of three epochs after one; the capture's seconds."""
    rows: list[dict[str, Any]] = []
    for precision in ("fp32", "bf16"):
        for tier in TIERS if device.type == "cuda" else TIERS[:1]:
            asked = recipe.changed({"precision": precision})
            steps = Steps(Method(), data, asked, device, tier, count=steps_of(data, recipe))
            steps.seconds()
            row = {"precision": precision, "wanted": tier, "ran": steps.tier, "reason": steps.reason}
            milliseconds = 1000 * statistics.median(steps.seconds() for _ in range(3))
            rows.append(row | {"ms_per_step": milliseconds, "capture_seconds": steps.capture_seconds})
    return rows


def runs_at_once(data: LongTailed, recipe: Recipe, device: torch.device, tiny: bool) -> list[dict[str, Any]]:
    """Steps a second of R runs together, each on its own stream, and how far their losses are from those alone."""
    tier: Tier = "graph" if device.type == "cuda" else "eager"
    ran: set[str] = set()

    def make(seed: int) -> Steps:
        steps = Steps(Method(), data, recipe, device, tier, seed, steps_of(data, recipe))
        ran.add(steps.tier)
        return steps

    alone: dict[int, list[float]] = {}
    rows = []
    for runs in (1, 2) if tiny else (1, 2, 4, 8):
        makes = [functools.partial(make, seed) for seed in range(runs)]
        speed, losses = side_by_side(makes, 1 if tiny else 6, device)
        far = 0.0
        for seed, curve in enumerate(losses):
            if seed not in alone:
                (alone[seed],) = side_by_side([functools.partial(make, seed)], 1 if tiny else 6, device)[1]
            far = max(far, *(abs(a - b) / abs(a) for a, b in zip(alone[seed], curve, strict=True)))
        rows.append({"runs": runs, "ran": sorted(ran), "steps_per_second": speed, "loss_difference": far})
    return rows


def evaluation_time(data: LongTailed, recipe: Recipe, device: torch.device) -> float:
    """Seconds of one evaluation of the test set."""
    state = train(data, recipe.changed({"epochs": 2, "evaluate_every": 1}), device, "eager", Method())
    return float(state["evaluation_seconds"]) / 2


def methods_over_tiers(data: LongTailed, recipe: Recipe, device: torch.device) -> list[dict[str, Any]]:
    """For every method milliseconds per step eager and captured, and how far the losses of that epoch lie apart."""
    rows = []
    asked = recipe.changed({"precision": "fp32-strict"})
    for name, entry in discover().items():
        runs = [Steps(entry.method(), data, asked, device, tier, count=20) for tier in TIERS[:2]]
        eager, graph = (steps.losses() for steps in runs)
        far = max(abs(a - b) / abs(a) for a, b in zip(eager, graph, strict=True))
        ms = [1000 * steps.seconds() for steps in runs]
        row = {"method": name, "ran": runs[1].tier, "reason": runs[1].reason, "loss_difference": far}
        rows.append(row | {"eager_ms": ms[0], "graph_ms": ms[1]})
    return rows


def long_run(data: LongTailed, recipe: Recipe, device: torch.device, tier: Tier) -> dict[str, Any]:
    """The whole recipe once: wall seconds, peak memory beyond what was there before, final test accuracy."""
    before = 0
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    started = time.perf_counter()
    state = train(data, recipe, device, tier, Method())
    return {
        "epochs": recipe.epochs,
        "tier": state["tier"],
        "seconds": time.perf_counter() - started,
        "evaluations": len(state["evaluations"]),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None,
        "accuracy": state["evaluations"][-1]["test"]["accuracy"],
    }


def gpu_tests(seconds: float) -> dict[str, Any]:
    """The tests marked ``gpu``, for as long as there is time."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    return {"exit_status": done.returncode, "end": done.stdout.strip().splitlines()[-1:] or done.stderr[-300:]}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of the same keys as Markdown."""

    def text(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)

    head = list(rows[0]) if rows else []
    lines = [head, ["---"] * len(head), *([text(row[name]) for name in head] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] if rows else ["nothing"]


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    where = ", ".join(f"{key} {value}" for key, value in report["environment"].items())
    lines = [f"# Engine on {report['environment']['device_name']}", "", where, "", f"Images: {report['images']}"]
    for part, found in report.items():
        if part not in ("environment", "images"):
            shown = table(found) if isinstance(found, list) else [f"`{json.dumps(found)}`"]
            lines += ["", f"## {part.replace('_', ' ')}", "", *shown]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Part:
    """One measurement, and the seconds it is expected to take on an H200."""

    name: str
    seconds: float
    measure: Callable[[], Any]


def measure(parts: Sequence[Part], report: dict[str, Any], seconds: float, save: Callable[[], None]) -> None:
    """One part after the other; what fails is reported and the rest goes on; what would take too long is left out."""
    begun = time.perf_counter()
    for part in parts:
        started = time.perf_counter()
        left = seconds - (started - begun)
        if part.seconds > left:
            report["skipped"][part.name] = f"{part.seconds:.0f} s expected, {left:.0f} s left"
        else:
            try:
                report[part.name] = part.measure()
            except Exception as error:
                report["errors"][part.name] = f"{type(error).__name__}: {error}"
        report["targets"] = verdicts(report)
        save()
        print(f"{part.name}: {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    """Measure one thing after the other, in the order of what decides what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_check.json and gpu_check.md")
    parser.add_argument("--images", help="image folder in place of generated images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=9.5, help="what does not fit into them is left out")
    parser.add_argument("--tiny", action="store_true", help="a small network, few images, few epochs")
    options = parser.parse_args()

    begun = time.perf_counter()
    prepare()
    device, tiny = device_of(options.device), options.tiny
    data = cifar100_lt(options.images, tiny)
    recipe = RECIPES["ldam"].changed({"backbone": "resnet8_cifar", "epochs": 2} if tiny else {})
    report: dict[str, Any] = {"environment": vars(environment(device)), "images": options.images or "generated"}
    report |= {"targets": [], "errors": {}, "skipped": {}}

    def best_tier() -> Tier:
        rows = [
            row for row in report.get("step_times", []) if row["precision"] == "fp32" and row["ran"] == row["wanted"]
        ]
        return min(rows, key=lambda row: row["ms_per_step"])["ran"] if rows else "eager"

    def left() -> float:
        return 60 * float(options.minutes) - (time.perf_counter() - begun)

    def save() -> None:
        (options.out / "gpu_check.json").write_text(json.dumps(report, indent=1, default=str))
        (options.out / "gpu_check.md").write_text(markdown(report))

    parts = [
        Part("plain_epoch", 15, lambda: plain_epoch(data, recipe, device)),
        Part("step_times", 90, lambda: step_times(data, recipe, device)),
        Part("together", 60, lambda: runs_at_once(data, recipe, device, tiny)),
        Part("evaluation_seconds", 5, lambda: evaluation_time(data, recipe, device)),
        Part("long_run", 40, lambda: long_run(data, recipe, device, best_tier())),
        Part("methods_over_tiers", 80, lambda: methods_over_tiers(data, recipe, device)),
        Part("gpu_tests", 120, lambda: gpu_tests(left())),
    ]
    only_on_gpu = ("methods_over_tiers", "gpu_tests")
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [part for part in parts if device.type == "cuda" or part.name not in only_on_gpu]
    measure(wanted, report, left(), save)
    print((options.out / "gpu_check.md").read_text())


if __name__ == "__main__":
    main()
