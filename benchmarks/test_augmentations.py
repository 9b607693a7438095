"""What strong augmentations cost: ``pytest benchmarks/test_augmentations.py -s [--device cuda] [--rounds 5]``."""

import functools
import statistics
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.in_turn import Work, in_turn, seconds_of
from benchmarks.steps import Steps, noise
from ltbench.engine.process import prepare
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES, Strong

RECIPE = RECIPES["ldam"]
BATCHES = 20


STRONG = tuple(name for name in get_args(Strong) if name != "none")


@functools.cache
def steps_with(name: str, device: torch.device) -> Steps:
    """Steps of plain training with strong augmentations."""
    recipe = RECIPE.changed({"augment": name})
    return Steps(Method(), noise(100, 10), recipe, device, count=50 if device.type == "cuda" else 1)


def batches(name: str, device: torch.device) -> Work:
    """Augments a batch several times."""
    steps = steps_with(name, device)
    columns = steps.plan.flatten(1)[:, : RECIPE.batch_size].to(device)

    def work() -> None:
        for _ in range(BATCHES):
            steps.running.task.training.batch(columns)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return work


def by_pil(pixels: np.ndarray) -> Work:
    """Crops and flips a batch with PIL in one thread, image by image, as often."""
    chain = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])
    return lambda: [np.stack([np.asarray(chain(Image.fromarray(image))) for image in pixels]) for _ in range(BATCHES)]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Threads of torch; a worker on a CPU has one by default."""
    prepare()
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", STRONG)
def test_a_batch(benchmark: Any, rounds: int, device: torch.device, threads: int, name: str) -> None:
    """Augmented batches, over those with crop and flip alone."""
    other = batches("none", device)
    ratio = in_turn(benchmark, batches(name, device), other, rounds, "crop and flip", device)
    median = 1000 * benchmark.stats.stats.median / BATCHES
    print(f"\n{name}, {threads} thread(s): a batch {median:.2f} ms, {ratio:.2f} x that of crop and flip", flush=True)


def test_a_batch_by_pil(benchmark: Any, rounds: int, device: torch.device, threads: int) -> None:
    """The same by PIL."""
    pixels = noise(100, 10).train.pixels()[: RECIPE.batch_size]
    ratio = in_turn(benchmark, by_pil(pixels), batches("none", device), rounds, "crop and flip", device)
    print(f"\ncrop and flip by PIL, {threads} thread(s): {ratio:.2f} x that of an index", flush=True)


@pytest.mark.parametrize("name", STRONG)
def test_a_step(benchmark: Any, rounds: int, device: torch.device, threads: int, name: str) -> None:
    """A step with augmented batches, over one with crop and flip alone, and the share of the batch."""
    steps, other, batch = steps_with(name, device), steps_with("none", device), batches(name, device)
    ratio = in_turn(benchmark, steps.losses, other.losses, rounds, "crop and flip", device)
    step = benchmark.stats.stats.median / steps.count
    share = statistics.median(seconds_of(batch) for _ in range(rounds)) / BATCHES / step
    benchmark.extra_info.update(share_of_a_step=share)
    print(f"\n{name}, {threads} thread(s): {ratio:.3f} x a step, {100 * share:.1f} % of it the batch", flush=True)
