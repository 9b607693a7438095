"""Step time of every method and tier: ``pytest benchmarks/test_step.py -s [--device cuda]``."""

import statistics
from typing import Any, get_args

import pytest
import torch

from benchmarks.steps import Steps, noise
from ltbench.engine.process import prepare
from ltbench.engine.task import Tier
from ltbench.method.contract import Method
from ltbench.method.registry import discover
from ltbench.plan.recipe import RECIPES
from ltbench.runner.environment import environment

RECIPE = RECIPES["ldam"].changed({"backbone": "resnet20_cifar"})


def steps_in_an_epoch(device: torch.device) -> int:
    """A GPU is waited for at the end of an epoch only."""
    return 50 if device.type == "cuda" else 1


def needs_a_gpu(tier: str, device: torch.device) -> None:
    """Skips what the device cannot run."""
    if tier != "eager" and device.type != "cuda":
        pytest.skip(f"tier '{tier}' needs a GPU")


@pytest.mark.parametrize("tier", ["eager", "graph"])
@pytest.mark.parametrize("classes", [100, 8142])
def test_methods(benchmark: Any, rounds: int, device: torch.device, classes: int, tier: Tier) -> None:
    """Every method's step over that of plain training, in turn, and the same over its declared cost.

    Of a method of several stages it is the last one's step, which its declared cost, of the whole, does not describe.
    """
    needs_a_gpu(tier, device)
    prepare()
    every = {name: entry.method() for name, entry in discover().items()}
    methods = {name: method for name, method in every.items() if method.stages()[-1].epochs}  # without post-hoc steps
    data, count = noise(classes, -(-512 // classes)), steps_in_an_epoch(device)
    steps = {name: Steps(method, data, RECIPE, device, tier, count=count) for name, method in methods.items()}
    plain = Steps(Method(), data, RECIPE, device, tier, count=count)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for measured in range(4 * rounds + 2):
        for name, step in steps.items():
            ratio = step.seconds() / plain.seconds()
            if measured >= 2:
                ratios[name].append(ratio)
    found = {name: statistics.median(values) for name, values in ratios.items()}
    whole = {name for name, method in methods.items() if method.after is None and len(method.stages()) == 1}
    beyond = {name: ratio / methods[name].cost for name, ratio in found.items() if name in whole}
    tiers = {name: step.tier for name, step in steps.items()}
    benchmark.pedantic(plain.losses, rounds=3)
    info = {"classes": classes, "ratio_to_plain": found, "ratio_to_declared": beyond, "tiers": tiers}
    benchmark.extra_info.update(info, steps_per_call=count, **vars(environment(device)))
    print(f"\n{tier}, {classes} classes, step over plain training's (over declared cost):")
    for name, ratio in found.items():
        declared = f" ({beyond[name]:.2f})" if name in beyond else ""
        print(f"  {name} {ratio:.2f}{declared}" + (f" ran {tiers[name]}" if tiers[name] != tier else ""), flush=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tier", get_args(Tier))
def test_tiers(benchmark: Any, rounds: int, device: torch.device, tier: Tier, precision: str) -> None:
    """Milliseconds of a plain step of ResNet-32 and its ratio to the eager one in fp32, in turn."""
    needs_a_gpu(tier, device)
    prepare()
    recipe = RECIPES["ldam"]
    data, count = noise(100, 10), steps_in_an_epoch(device)
    eager = Steps(Method(), data, recipe, device, count=count)
    other = Steps(Method(), data, recipe.changed({"precision": precision}), device, tier, count=count)
    assert other.tier == tier, other.reason
    eager.seconds(), other.seconds()
    times = [(eager.seconds(), other.seconds()) for _ in range(rounds)]
    ratio = statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)
    benchmark.pedantic(other.losses, rounds=rounds)
    benchmark.extra_info.update(times_as_fast_as_eager_fp32=ratio, steps_per_call=count, **vars(environment(device)))
    milliseconds = 1000 * statistics.median(b for _, b in times)
    print(f"\n{tier}, {precision}: {milliseconds:.2f} ms a step, {ratio:.2f} x as fast as eager fp32", flush=True)
