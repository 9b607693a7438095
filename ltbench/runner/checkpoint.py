"""Checkpoints: the files of finished stages and of stages in training."""

import functools
import io
import time
import warnings
from pathlib import Path

import torch

from ltbench.engine.image_source import CPU
from ltbench.engine.stage import State
from ltbench.results.store import Store, write_whole


class StageFile:
    """The checkpoint of a stage in the store, saved at most every ``every_s`` seconds.

    Args:
        evaluates: `Recipe.evaluation` that a saved state must have; None: any.
    """

    def __init__(self, path: Path, device: torch.device, every_s: float, evaluates: str | None = None) -> None:
        self.path, self.device, self.every_s, self.evaluates = path, device, every_s, evaluates
        self.saved_at = time.monotonic()

    def load(self) -> State | None:
        """The last saved state, or None; a file that cannot be read causes a warning and is ignored."""
        if not self.path.exists():
            return None
        try:
            state: State = torch.load(self.path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch.load raises a different error for each kind of damage
            warnings.warn(
                f"{self.path} cannot be read ({type(error).__name__}); the stage is trained again", stacklevel=2
            )
            return None
        return state if self.evaluates in (None, state["evaluates"]) else None

    def due(self) -> bool:
        """Whether ``every_s`` seconds have passed since the last save."""
        return time.monotonic() - self.saved_at >= self.every_s

    def save(self, state: State) -> None:
        """Replace the saved state, so that the file is complete at any moment."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.path, buffer.getvalue())
        self.saved_at = time.monotonic()


class StageFiles:
    """The files of a stage in the store: the finished one, which is loaded to the CPU, and the checkpoint."""

    def __init__(
        self, store: Store, stage: str, device: torch.device, checkpoint_every_s: float, evaluates: str | None = None
    ) -> None:
        self.finished = StageFile(store.stage_path(stage), CPU, checkpoint_every_s, evaluates)
        self.partial = StageFile(store.stage_path(stage, partial=True), device, checkpoint_every_s, evaluates)
        self.locked = functools.partial(store.locked, f"stage-{stage}")
