"""One training epoch of ``ce`` on CIFAR-10-LT at ratio 100 with ResNet-32, on the CPU, against the plain loop.

``pytest benchmarks/test_epoch.py -s [--images FOLDER] [--rounds 5]``
"""

import functools
import platform
import statistics
from typing import Any

import pytest
import torch

from benchmarks.in_turn import CPU
from benchmarks.sides import cifar10_lt, engine_side, plain_side, race
from ltbench.data import Imbalance
from ltbench.engine import epoch_plan
from ltbench.engine.task import Task
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_epoch_against_the_plain_loop(
    benchmark: Any, images: str | None, imbalance: Imbalance, rounds: int, precision: str
) -> None:
    """An epoch in the engine, over one of the plain loop in fp32 with 4 workers."""
    if precision == "bf16" and platform.machine() == "x86_64" and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no native bf16")
    engine = functools.partial(engine_side, images, imbalance, precision)
    plain = functools.partial(plain_side, images, imbalance, 4)
    ratio = race(benchmark, engine, plain, rounds, "plain loop")
    benchmark.extra_info.update(images=images or "generated")
    print(
        f"\n{precision}: an epoch takes {benchmark.stats.stats.median:.2f} s in the engine and "
        f"{statistics.median(benchmark.extra_info['other_seconds']):.2f} s in the plain loop, {1 / ratio:.2f} times as "
        f"fast (medians of {rounds}, in turn)",
        flush=True,
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_fusing_would_gain(
    benchmark: Any, images: str | None, imbalance: Imbalance, rounds: int, precision: str
) -> None:
    """Batch norm, ReLU and additions fused by torch's compiler, over the engine as it is. Needs a C++ compiler."""
    fused = functools.partial(engine_side, images, imbalance, precision, fused=True)
    eager = functools.partial(engine_side, images, imbalance, precision)
    ratio = race(benchmark, fused, eager, rounds, "engine")
    print(f"\n{precision}: fused, an epoch is {1 / ratio:.2f} times as fast (medians of {rounds}, in turn)", flush=True)


def test_data_path(benchmark: Any, images: str | None, imbalance: Imbalance) -> None:
    """Seconds an epoch spends on its plan, on indexing and on normalising; compare with the epoch's own."""
    recipe = RECIPES["ldam"]
    task = Task.of(cifar10_lt(images, imbalance), recipe, 0, CPU)
    draws, streams = len(task.data.train), Method.streams

    def data_path() -> None:
        plan = epoch_plan.draw(task.pool, streams, draws, 0.0, task.training.augmentations, (0, 0, 0))
        for columns in torch.split(plan, recipe.batch_size, dim=2):
            pixels, _ = task.training.batch(columns.flatten(1))
            task.normalise(pixels)

    benchmark.pedantic(data_path, rounds=5, warmup_rounds=1)
    print(f"\ndata path: {benchmark.stats.stats.median:.3f} s an epoch")
