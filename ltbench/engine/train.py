"""The training loop."""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Protocol

import torch

from ltbench.engine.evaluate import TrainingFailed, evaluate, features
from ltbench.engine.process import numerics
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.strengths import choose_strengths


class Checkpoint(Protocol):
    """Where a stage saves what it needs to continue after a kill."""

    def load(self) -> State | None:
        """The last saved state, if there is one."""

    def due(self) -> bool:
        """Whether it is time to save."""

    def save(self, state: State) -> None:
        """Replace the saved state."""


def train_stage(
    running: RunningStage,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, int], None] = lambda done, epochs: None,
) -> State:
    """Train one stage, from its checkpoint if there is one.

    Args:
        running: the stage; it is trained in place, and closed.
        checkpoint: where to continue from and where to save.
        on_epoch: called after every epoch with (epochs done, epochs of the stage).

    Returns:
        The state of the stage (see `RunningStage`) and ``network``, the state of its network.

    Raises:
        TrainingFailed: when a loss or a logit is not finite.
    """
    recipe = running.task.recipe
    if (saved := checkpoint.load()) is not None:
        running.resume(saved)
    state = running.state
    with numerics(strict=recipe.precision == "fp32-strict"), contextlib.closing(running):
        for epoch in range(state["epoch"], running.epochs):
            with running.timed("train_seconds"):
                choose_strengths(running, epoch)
                call_before_epoch(running)
                plan = running.begin(epoch)
                losses = running.train(plan)
                _check_finite(losses, running)
                state["epoch"] += 1
                state["losses"].append(sum(losses) / len(losses))
                state["images"] += plan[0].numel()
            if epoch + 1 < running.epochs:
                if (epoch + 1) % recipe.evaluate_every == 0:
                    with running.with_average():
                        evaluate(running)
                if checkpoint.due():
                    checkpoint.save(running.to_save())
            on_epoch(epoch + 1, running.epochs)
        with running.timed("train_seconds"):
            running.take_average()
        if running.stage.finish is not None:
            with running.timed("train_seconds"), torch.no_grad():
                running.stage.finish(running.net, functools.partial(features, running))
        evaluate(running)
    return state | {"network": running.net.state_dict()}


def call_before_epoch(running: RunningStage) -> None:
    """Call the function of the stage that comes before every epoch, if there is one."""
    if running.stage.before_epoch is not None:
        with torch.no_grad():
            running.stage.before_epoch(running.net, *features(running, "train"))


def _check_finite(losses: list[float], running: RunningStage) -> None:
    """Raise TrainingFailed at the first loss that is not finite."""
    for number, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            at = f"epoch {running.state['epoch'] + 1} of {running.epochs}, step {number}"
            raise TrainingFailed(f"loss became {loss} in stage '{running.stage.name}', {at}")
