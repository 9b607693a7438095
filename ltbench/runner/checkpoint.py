"""Where the stages of a cell are stored: finished, and on their way there."""

import functools
import io
import time
import warnings
from pathlib import Path

import torch

from ltbench.engine.train import State
from ltbench.results.store import Store, write_whole


class StageFile:
    """The checkpoint of a stage in the store, saved at most every ``every_s`` seconds."""

    def __init__(self, path: Path, device: torch.device, every_s: float) -> None:
        self.path, self.device, self.every_s = path, device, every_s
        self.saved_at = time.monotonic()

    def load(self) -> State | None:
        """What was saved last; a file that cannot be read is told and ignored."""
        if not self.path.exists():
            return None
        try:
            state: State = torch.load(self.path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch.load raises a different error for each kind of damage
            warnings.warn(f"{self.path} cannot be read ({type(error).__name__}); trained anew", stacklevel=2)
            return None
        return state

    def due(self) -> bool:
        """Whether ``every_s`` have passed since it was saved."""
        return time.monotonic() - self.saved_at >= self.every_s

    def save(self, state: State) -> None:
        """Replace what was saved, so that the file is whole at any moment."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.path, buffer.getvalue())
        self.saved_at = time.monotonic()


class StageFiles:
    """Where a stage lies in the store: finished, and on its way there."""

    def __init__(self, store: Store, stage: str, device: torch.device, checkpoint_every_s: float) -> None:
        self.finished = StageFile(store.stage_path(stage), device, checkpoint_every_s)
        self.partial = StageFile(store.stage_path(stage, partial=True), device, checkpoint_every_s)
        self.locked = functools.partial(store.locked, f"stage-{stage}")
