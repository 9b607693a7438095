"""What strong augmentations cost: ``pytest benchmarks/test_augmentations.py -s [--device cuda] [--rounds 5]``."""

import statistics
import time
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.steps import Steps, noise
from ltbench.engine.process import prepare
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES, Strong
from ltbench.runner.environment import environment

RECIPE = RECIPES["ldam"]
BATCHES = 20


def batches(steps: Steps, device: torch.device) -> Callable[[], float]:
    """Seconds of one augmented batch, the mean of several."""
    columns = steps.plan.flatten(1)[:, : RECIPE.batch_size].to(device)

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(BATCHES):
            steps.running.task.training.batch(columns)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / BATCHES

    return seconds


def by_pil(pixels: np.ndarray) -> Callable[[], float]:
    """Seconds of a batch that PIL crops and flips in one thread, image by image."""
    chain = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])

    def seconds() -> float:
        started = time.perf_counter()
        np.stack([np.asarray(chain(Image.fromarray(image))) for image in pixels])
        return time.perf_counter() - started

    return seconds


@pytest.mark.parametrize("threads", [1, 2])
def test_strong_augmentations(benchmark: Any, rounds: int, device: torch.device, threads: int) -> None:
    """A batch and a step with each, over those with crop and flip alone, all in turn; and their share of a step.

    A worker on a CPU has one thread by default.
    """
    torch.set_num_threads(threads)
    prepare()
    data = noise(100, 10)
    steps = {
        name: Steps(Method(), data, RECIPE.changed({"augment": name}), device, count=50 if device.type == "cuda" else 1)
        for name in get_args(Strong)
    }
    sides = {("batch", name): batches(one, device) for name, one in steps.items()}
    sides |= {("step", name): one.seconds for name, one in steps.items()}
    sides["batch", "crop and flip by PIL"] = by_pil(data.train.pixels()[: RECIPE.batch_size])
    times: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
    for measured in range(rounds + 1):
        for side, seconds in sides.items():
            found = seconds()
            if measured:
                times[side].append(found)
    medians = {side: statistics.median(values) for side, values in times.items()}
    print(f"\nResNet-32, batches of {RECIPE.batch_size}, {device}, {threads} thread(s)")
    info = {}
    for name in steps:
        batch, step = medians["batch", name], medians["step", name]
        over = [medians[kind, name] / medians[kind, "none"] for kind in ("batch", "step")]
        info[name] = {"batch_seconds": batch, "batch_over_crop": over[0], "step_over_crop": over[1]}
        print(
            f"  {name}: batch {1000 * batch:.2f} ms, {over[0]:.2f} x that of crop and flip; "
            f"{100 * batch / step:.1f} % of a step, which takes {over[1]:.3f} x as long",
            flush=True,
        )
    pil = medians["batch", "crop and flip by PIL"]
    print(f"  crop and flip by PIL: batch {1000 * pil:.2f} ms, {pil / medians['batch', 'none']:.2f} x", flush=True)
    benchmark.pedantic(steps["none"].losses, rounds=1)
    benchmark.extra_info.update(info, pil_batch_seconds=pil, **vars(environment(device)))
