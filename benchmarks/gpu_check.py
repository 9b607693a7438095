"""Everything that wants to be known of a GPU, in one command: tests, speed, a long run. One JSON, one Markdown table.

    python -m benchmarks.gpu_check --out results/gpu        # under ten minutes on a GPU, no network
    python -m benchmarks.gpu_check --out /tmp/x --tiny      # the same path in a minute, on whatever is there

It needs what the package itself needs, takes generated images of CIFAR-100-LT's shape or real ones (``--images``), and
asserts nothing: it measures, in the order of what decides what.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltbench.data import ImageSet, Imbalance, LongTailed, Split, cut, load
from ltbench.engine.process import device_of, prepare
from ltbench.engine.train import State, Task, Tier, train_stage
from ltbench.execute import StageFile, environment, network
from ltbench.method import Method
from ltbench.recipe import RECIPES, Recipe
from ltbench.registry import discover

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
    task = Task.of(data, recipe, 0, device, tier)
    net = network(method, task, 0).to(device).to(memory_format=torch.channels_last)
    if tier == "compiled":
        net.backbone.compile()
    return train_stage(net, method, method.stages()[0], 0, task, Nowhere(device))


def step_times(data: LongTailed, recipe: Recipe, device: torch.device, tiny: bool) -> list[dict[str, Any]]:
    """Milliseconds per step of every tier and precision, from the difference of a short and a longer run."""
    rows: list[dict[str, Any]] = []
    short, longer = (1, 2) if tiny else (2, 8)
    tiers = TIERS if device.type == "cuda" else ("eager",)
    for precision in ("fp32", "bf16"):
        for tier in tiers:
            seconds = {}
            for epochs in (short, longer):
                asked = recipe.changed({"epochs": epochs, "precision": precision, "evaluate_every": 1000})
                state = train(data, asked, device, tier, Method())
                seconds[epochs] = state["train_seconds"]
            steps = -(-len(data.train) // recipe.batch_size) * (longer - short)
            row = {"precision": precision, "wanted": tier, "ran": state["tier"], "reason": state["tier_reason"]}
            rows.append(row | {"ms_per_step": 1000 * (seconds[longer] - seconds[short]) / steps})
    return rows


def evaluation_time(data: LongTailed, recipe: Recipe, device: torch.device) -> float:
    """Seconds of one evaluation of the test set."""
    state = train(data, recipe.changed({"epochs": 2, "evaluate_every": 1}), device, "eager", Method())
    return float(state["evaluation_seconds"]) / 2


def methods_in_graphs(data: LongTailed, recipe: Recipe, device: torch.device) -> list[dict[str, Any]]:
    """For every method the tier it ran in when a graph was wanted, and how far its losses are from the eager ones."""
    rows = []
    for name, entry in discover().items():
        method = entry.method()
        asked = recipe.changed({"epochs": 2, "precision": "fp32-strict"})
        eager = train(data, asked, device, "eager", method)
        graph = train(data, asked, device, "graph", method)
        far = max(abs(a - b) / abs(a) for a, b in zip(eager["losses"], graph["losses"], strict=True))
        rows.append({"method": name, "ran": graph["tier"], "reason": graph["tier_reason"], "loss_difference": far})
    return rows


def long_run(data: LongTailed, recipe: Recipe, device: torch.device, tier: Tier) -> dict[str, Any]:
    """The whole recipe once: wall seconds, peak memory, final test accuracy."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    state = train(data, recipe, device, tier, Method())
    return {
        "epochs": recipe.epochs,
        "tier": state["tier"],
        "seconds": time.perf_counter() - started,
        "evaluations": len(state["evaluations"]),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "accuracy": state["evaluations"][-1]["test"]["accuracy"],
    }


def gpu_tests() -> dict[str, Any]:
    """The tests marked ``gpu``."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q"], capture_output=True, text=True, check=False
    )
    return {"exit_status": done.returncode, "end": done.stdout.strip().splitlines()[-1:] or done.stderr[-300:]}


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    where = ", ".join(f"{key} {value}" for key, value in report["environment"].items())
    lines = [f"# Engine on {report['environment']['device_name']}", "", where, "", f"Images: {report['images']}", ""]
    lines += ["| precision | tier wanted | ran | ms per step |", "|---|---|---|---:|"]
    for row in report.get("step_times", []):
        ran = row["ran"] + (f" ({row['reason']})" if row["reason"] else "")
        lines.append(f"| {row['precision']} | {row['wanted']} | {ran} | {row['ms_per_step']:.3f} |")
    for part in ("gpu_tests", "evaluation_seconds", "methods_in_graphs", "long_run", "errors"):
        lines += ["", f"**{part}**: `{json.dumps(report.get(part))}`"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one thing after the other; what fails is reported and the rest goes on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_check.json and gpu_check.md")
    parser.add_argument("--images", help="image folder in place of generated images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="a small network, few images, few epochs")
    options = parser.parse_args()

    prepare()
    device = device_of(options.device)
    data = cifar100_lt(options.images, options.tiny)
    recipe = RECIPES["ldam"].changed({"backbone": "resnet8_cifar", "epochs": 2} if options.tiny else {})
    report: dict[str, Any] = {"environment": environment(device), "images": options.images or "generated", "errors": {}}
    on_gpu = device.type == "cuda"

    def best_tier() -> Tier:
        rows = [
            row for row in report.get("step_times", []) if row["precision"] == "fp32" and row["ran"] == row["wanted"]
        ]
        return min(rows, key=lambda row: row["ms_per_step"])["ran"] if rows else "eager"

    parts: dict[str, Callable[[], Any]] = {
        "step_times": lambda: step_times(data, recipe, device, options.tiny),
        "evaluation_seconds": lambda: evaluation_time(data, recipe, device),
        "long_run": lambda: long_run(data, recipe, device, best_tier()),
    }
    if on_gpu:
        parts = {"gpu_tests": gpu_tests, **parts, "methods_in_graphs": lambda: methods_in_graphs(data, recipe, device)}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, measure in parts.items():
        started = time.perf_counter()
        try:
            report[name] = measure()
        except Exception as error:
            report["errors"][name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        (options.out / "gpu_check.json").write_text(json.dumps(report, indent=1, default=str))
        (options.out / "gpu_check.md").write_text(markdown(report))
    print((options.out / "gpu_check.md").read_text())


if __name__ == "__main__":
    main()
