"""How strongly each class is augmented, which a method chooses before every epoch by trials on training images."""

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ltbench.engine import epoch_plan
from ltbench.engine.stage import RunningStage
from ltbench.errors import InputError
from ltbench.method.samplers import MOST_STRENGTH, Augmented, Indices, Pool

BATCH = 500  # images


def choose_strengths(running: RunningStage, epoch: int) -> None:
    """Ask the method how strongly each class is augmented in an epoch (from 0).

    Raises:
        InputError: when the answer is not one strength for each class.
    """
    if running.stage.strengths is None:
        return
    running.net.eval()
    with torch.no_grad():
        chosen = running.stage.strengths(running.net, functools.partial(trial, running, epoch, itertools.count()))
    strengths = chosen.cpu().numpy().copy()
    right = strengths.dtype == np.int64 and strengths.shape == running.strengths.shape
    if not (right and ((strengths >= 0) & (strengths <= MOST_STRENGTH)).all()):
        raise InputError(
            f"Stage.strengths of {running.method.name} returns {chosen.dtype} of shape {tuple(chosen.shape)}; return "
            f"[C] int64 from 0 to {MOST_STRENGTH}, C = {len(running.strengths)}"
        )
    running.strengths = strengths


def trial(running: RunningStage, epoch: int, calls: Iterator[int], classes: Tensor, strengths: Tensor) -> Tensor:
    """See ``Trial``.

    Args:
        running: the stage, its network in evaluation mode.
        epoch, calls: number of the epoch and of earlier trials in it, which key the random images.
        classes, strengths: [N].

    Returns:
        [N] bool, on the device.
    """
    task, place = running.task, (running.task.seed, running.position, epoch, "trial", next(calls))
    wanted, strong = classes.cpu().numpy(), strengths.cpu().numpy()

    def chosen(pool: Pool, draws: int, progress: float, generator: np.random.Generator) -> Indices:
        images: Indices = pool.by_class[pool.starts[wanted] + generator.integers(pool.counts[wanted])]
        return images

    augmentations, streams = running.training.augmentations, {"trial": Augmented(chosen, graded=1.0)}
    plan = epoch_plan.draw(
        task.pool, streams, len(strong), 0.0, augmentations, place, task.recipe.augment, lambda _: strong
    )
    running.training.begin(plan, BATCH)
    right = []
    with torch.inference_mode(), task.autocast():
        for columns in plan.to(task.device).split(BATCH, dim=2):
            pixels, labels = running.training.batch(columns.flatten(1))
            right.append(running.method.predict(running.net, task.normalise(pixels)).argmax(1) == labels)
    return torch.cat(right)
