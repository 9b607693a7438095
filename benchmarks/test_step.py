"""Step time of every method and tier: ``pytest benchmarks/test_step.py -s [--device cuda]``."""

import functools
from typing import Any, get_args

import pytest
import torch

from benchmarks.in_turn import in_turn
from benchmarks.steps import Steps, noise
from ltbench.data import LongTailed
from ltbench.engine.process import prepare
from ltbench.engine.task import Tier
from ltbench.errors import InputError
from ltbench.method.contract import Method
from ltbench.method.registry import discover
from ltbench.plan.recipe import RECIPES

RECIPE = RECIPES["ldam"].changed({"backbone": "resnet20_cifar"})


def steps_in_an_epoch(device: torch.device) -> int:
    """A GPU is waited for at the end of an epoch only."""
    return 50 if device.type == "cuda" else 1


def needs_a_gpu(tier: str, device: torch.device) -> None:
    """Skips what the device cannot run."""
    if tier != "eager" and device.type != "cuda":
        pytest.skip(f"tier '{tier}' needs a GPU")


EVERY = {name: entry.method() for name, entry in discover().items()}
TRAINED = {name: method for name, method in EVERY.items() if method.stages()[-1].epochs}  # without post-hoc steps
images = functools.cache(noise)


@functools.cache
def plain(classes: int, tier: Tier, device: torch.device) -> Steps:
    """Steps of plain training, which those of every method are compared with."""
    prepare()
    return Steps(Method(), data_of(classes), RECIPE, device, tier, count=steps_in_an_epoch(device))


def data_of(classes: int) -> LongTailed:
    """Noise of so many classes."""
    return images(classes, -(-512 // classes))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("tier", ["eager", "graph"])
@pytest.mark.parametrize("classes", [100, 8142])
def test_methods(benchmark: Any, rounds: int, device: torch.device, classes: int, tier: Tier, name: str) -> None:
    """A method's step over that of plain training, and the same over its declared cost.

    Of a method of several stages it is the last one's step, which its declared cost, of the whole, does not describe.
    """
    needs_a_gpu(tier, device)
    other, method, count = plain(classes, tier, device), TRAINED[name], steps_in_an_epoch(device)
    try:
        steps = Steps(method, data_of(classes), RECIPE, device, tier, count=count)
    except InputError as why:  # it needs another backbone
        pytest.skip(str(why))
    ratio = in_turn(benchmark, steps.losses, other.losses, 4 * rounds, "plain training", device)
    whole = method.after is None and len(method.stages()) == 1
    declared = f" ({ratio / method.cost:.2f} over its declared cost)" if whole else ""
    benchmark.extra_info.update(tier=steps.tier, steps_per_call=count)
    benchmark.extra_info.update({"ratio_to_declared": ratio / method.cost} if whole else {})
    ran = f", ran {steps.tier}" if steps.tier != tier else ""
    print(f"\n{tier}, {classes} classes, {name}: {ratio:.2f} x a step of plain training{declared}{ran}", flush=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tier", get_args(Tier))
def test_tiers(benchmark: Any, rounds: int, device: torch.device, tier: Tier, precision: str) -> None:
    """A plain step of ResNet-32 over the eager one in fp32."""
    needs_a_gpu(tier, device)
    prepare()
    recipe = RECIPES["ldam"]
    data, count = images(100, 10), steps_in_an_epoch(device)
    eager = Steps(Method(), data, recipe, device, count=count)
    steps = Steps(Method(), data, recipe.changed({"precision": precision}), device, tier, count=count)
    assert steps.tier == tier, steps.reason
    ratio = in_turn(benchmark, steps.losses, eager.losses, rounds, "eager fp32", device)
    benchmark.extra_info.update(steps_per_call=count)
    milliseconds = 1000 * benchmark.stats.stats.median / count
    print(f"\n{tier}, {precision}: {milliseconds:.2f} ms a step, {1 / ratio:.2f} x as fast as eager fp32", flush=True)
