"""Checkpoints: the files of finished stages and of stages in training.

Before the state, a file has a line with the name of the format and one with the file's own name and the SHA-256 hash of
the state. So a file of another stage, or one that was changed, is never used.
"""

import functools
import hashlib
import io
import sys
import time
from pathlib import Path

import torch

from ltbench.engine.image_source import CPU
from ltbench.engine.stage import State
from ltbench.errors import InputError
from ltbench.results.files import read_whole, write_whole
from ltbench.results.store import Store

MAGIC = b"ltbench stage 1\n"
KEYS = {"epoch", "losses", "evaluations", "logits", "best", "images", "train_seconds", "evaluation_seconds", "tier"}
KEYS |= {"tier_reason", "environments", "evaluates", "head", "network"}
"""What the state of every stage has: see `RunningStage`."""


class StageFile:
    """The checkpoint of a stage in the store, saved at most every ``every_s`` seconds.

    Args:
        evaluates: `Recipe.evaluation` that a saved state must have; None: any.
    """

    def __init__(self, path: Path, device: torch.device, every_s: float, evaluates: str | None = None) -> None:
        self.path, self.device, self.every_s, self.evaluates = path, device, every_s, evaluates
        self.saved_at = time.monotonic()

    def load(self) -> State | None:
        """The last saved state, or None; a file that cannot be used causes one line on stderr and is ignored."""
        if not self.path.exists():
            return None
        try:
            state = self._state(read_whole(self.path))
        except InputError as error:
            print(f"ltbench: {error}; it is trained again where it is needed", file=sys.stderr)
            return None
        return state if self.evaluates in (None, state["evaluates"]) else None

    def due(self) -> bool:
        """Whether ``every_s`` seconds have passed since the last save."""
        return time.monotonic() - self.saved_at >= self.every_s

    def save(self, state: State) -> None:
        """Replace the saved state, so that the file is complete at any moment."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        write_whole(self.path, self._head(content) + content)
        self.saved_at = time.monotonic()

    def _head(self, content: bytes) -> bytes:
        return MAGIC + f"{self.path.name} {hashlib.sha256(content).hexdigest()}\n".encode()

    def _state(self, raw: bytes) -> State:
        """The state in the content of a file; raises InputError where the file is of another stage, or damaged."""
        if not raw.startswith(MAGIC):
            raise InputError(f"{self.path} has another format")
        head, _, content = raw.removeprefix(MAGIC).partition(b"\n")
        if not head.startswith(f"{self.path.name} ".encode()):
            raise InputError(f"{self.path} is of another stage")
        if MAGIC + head + b"\n" != self._head(content):
            raise InputError(f"{self.path} was changed since it was written")
        try:
            state: State = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        except Exception as error:  # torch.load raises a different error for each kind of damage
            raise InputError(f"{self.path} cannot be read ({type(error).__name__})") from error
        if not (isinstance(state, dict) and state.keys() >= KEYS):
            raise InputError(f"{self.path} is not complete")
        return state


class StageFiles:
    """The files of a stage in the store: the finished one, which is loaded to the CPU, and the checkpoint."""

    def __init__(
        self, store: Store, stage: str, device: torch.device, checkpoint_every_s: float, evaluates: str | None = None
    ) -> None:
        self.finished = StageFile(store.stage_path(stage), CPU, checkpoint_every_s, evaluates)
        self.partial = StageFile(store.stage_path(stage, partial=True), device, checkpoint_every_s, evaluates)
        self.locked = functools.partial(store.locked, f"stage-{stage}")
