"""The store: a folder of results that any number of processes and machines may write into.

``records/`` holds one JSON file for each attempt at a cell, ``arrays/`` the test logits, ``plans/`` what was asked
for, ``stages/`` trained networks (a cache: it may be deleted at any time), ``locks/`` who is at work. A file is written
under another name and renamed when it is whole; a record is never rewritten, only superseded by a later one.
"""

import contextlib
import gc
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic_core import from_json

from ltbench.errors import InputError

FORMAT = 1
Record = dict[str, Any]


def now() -> str:
    """The time in UTC, in a form that sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever is killed or unplugged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Record:
    """One record; raises InputError for a file that is none."""
    try:
        record: Record = from_json(path.read_bytes())  # several times as fast as json.loads
        newer = record["format"] > FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a record of ltbench ({error}); remove the file") from error
    if newer:
        raise InputError(f"record {path} was written by a newer ltbench; upgrade with pip install -U ltbench")
    return record


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Without the search for garbage among new objects: reading many records makes none, and it doubles the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Store:
    """Results in a folder.

    Args:
        root: the folder; it need not exist before something is written.
    """

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)

    def prepare(self) -> None:
        """Raises InputError where nothing can be written into the folder."""
        try:
            probe = self.root / f".{uuid4().hex}.tmp"
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"results folder {self.root} cannot be written ({error.strerror}); give another one with --results"
            ) from error

    # records

    def add(self, record: Record) -> None:
        """Keep a record; the time of keeping it becomes part of it and of its name."""
        created = now()
        text = json.dumps({"format": FORMAT, "created": created} | record, separators=(",", ":"), allow_nan=False)
        stamp = "".join(c for c in created if c.isdigit())[:20]
        write_whole(self.root / "records" / f"{record['id']}-{stamp}.json", text.encode())

    def attempts(self, prefix: str = "") -> list[Record]:
        """All records of cells whose id begins with ``prefix``, oldest first.

        Raises:
            InputError: for a file that is no record.
        """
        with no_garbage():
            records = [_read(path) for path in (self.root / "records").glob(f"{prefix}*.json")]
        return sorted(records, key=lambda record: str(record["created"]))

    def latest(self, prefix: str = "") -> dict[str, Record]:
        """The newest record of each cell, by id; a finished one is never superseded by a failure."""
        latest: dict[str, Record] = {}
        for record in self.attempts(prefix):
            if record["status"] == "done" or latest.get(record["id"], record)["status"] != "done":
                latest[record["id"]] = record
        return latest

    # arrays

    def arrays_path(self, cell: str) -> Path:
        """Where the arrays of a cell lie."""
        return self.root / "arrays" / f"{cell}.npz"

    def write_arrays(self, cell: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep the arrays of a cell (its logits)."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(self.arrays_path(cell), buffer.getvalue())

    def arrays(self, cell: str) -> dict[str, NDArray[Any]]:
        """The arrays of a cell: ``logits`` [N, C] float16, ``labels`` and ``predicted`` classes [N] of the test split.

        Earlier cells have no ``predicted``, which is there so that comparing methods need not read all logits.
        """
        with np.load(self.arrays_path(cell)) as file:
            return dict(file)

    # stages

    def stage_path(self, stage: str, partial: bool = False) -> Path:
        """Where a trained stage lies, or its latest checkpoint."""
        return self.root / "stages" / f"{stage}{'.partial' if partial else ''}.pt"

    # plans

    def add_plan(self, name: str, plan: dict[str, Any]) -> None:
        """Keep what a run was asked for, under a name that its content determines."""
        path = self.root / "plans" / f"{name}.json"
        if not path.exists():
            write_whole(path, json.dumps({"created": now()} | plan).encode())

    def plans(self) -> list[dict[str, Any]]:
        """All plans, oldest first."""
        plans = [json.loads(path.read_bytes()) for path in (self.root / "plans").glob("*.json")]
        return sorted(plans, key=lambda plan: str(plan["created"]))

    # locks

    def _lock(self, name: str) -> FileLock:
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def try_lock(self, name: str) -> FileLock | None:
        """The lock of this name, held, or None where another process has it. The system frees it when we die."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock, waiting for it."""
        with self._lock(name):
            yield

    def is_locked(self, name: str) -> bool:
        """Whether some process is at work under this name."""
        if not (self.root / "locks" / name).exists():
            return False
        lock = self.try_lock(name)
        if lock is None:
            return True
        lock.release()
        return False
