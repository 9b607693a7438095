"""Evaluation against training, image for image: ``pytest benchmarks/test_evaluation.py -s [--device cuda]``."""

from typing import Any

import pytest
import torch

from benchmarks.in_turn import in_turn
from benchmarks.steps import Steps, noise
from ltbench.engine.evaluate import BATCH, evaluate
from ltbench.engine.process import numerics, prepare
from ltbench.method.contract import Method
from ltbench.plan.recipe import RECIPES


@pytest.mark.parametrize("classes", [100, 1000])
def test_evaluation(benchmark: Any, rounds: int, device: torch.device, classes: int) -> None:
    """An evaluation of 2,000 images (10,000 on a GPU), metrics included, and its cost an image over training's."""
    prepare()
    recipe, method = RECIPES["ldam"], Method()
    images = 10_000 if device.type == "cuda" else 2_000
    data = noise(classes, max(1, 512 // classes), images // classes)
    training = Steps(method, data, recipe, device, count=4)

    def evaluated() -> None:
        with numerics(strict=False):
            evaluate(training.running)  # ends with the logits on the host

    def train_again() -> None:
        training.running.net.train()

    ratio = in_turn(benchmark, evaluated, training.losses, rounds, "training", device, prepare=train_again)
    share = ratio * training.count * recipe.batch_size / images
    benchmark.extra_info.update(images=images, batch=BATCH, cost_of_training_an_image=share)
    print(
        f"\n{images} images, {classes} classes: {benchmark.stats.stats.median:.2f} s, "
        f"{100 * share:.0f} % of training on as many",
        flush=True,
    )
