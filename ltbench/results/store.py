"""The store: a folder of results that any number of processes and machines may write into.

``records/`` holds one JSON file for each attempt at a cell, ``arrays/`` the test logits, ``plans/`` the cells that each
run asked for, ``stages/`` trained networks (a cache: it may be deleted at any time), ``locks/`` one file for each cell
or stage that a process is training. A file is written under another name and renamed once it is complete; a record is
never changed, only replaced by a later one.
"""

import contextlib
import gc
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ltbench.errors import InputError
from ltbench.results.files import write_whole
from ltbench.results.record import Record, now


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Sixteen hex digits that name the content of arrays, whatever file format they are stored in."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(repr((name, arrays[name].dtype.str, arrays[name].shape)).encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()[:16]


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Switch the garbage collector off: reading many records makes no garbage, and the search doubles the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _file_name(record: Record) -> str:
    stamp = "".join(c for c in record.created if c.isdigit())[:20]
    return f"{record.id}-{stamp}.json"


def _record_in(path: Path) -> Record:
    record = Record.read(path)
    if path.name != _file_name(record):
        raise InputError(f"{path} has the record of cell {record.id}; name it {_file_name(record)}, or remove it")
    return record


class Store:
    """Results in a folder.

    Every record is read once, since it never changes.

    Args:
        root: the folder; it need not exist before something is written.
    """

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)
        self._read: dict[Path, Record] = {}

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            InputError: when nothing can be written into it.
        """
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
        """Store a record, in a file that is named after its cell and its time."""
        write_whole(self.root / "records" / _file_name(record), record.write())

    def attempts(self, prefix: str = "", damaged: list[InputError] | None = None) -> list[Record]:
        """All records of cells whose id begins with ``prefix``, oldest first.

        Args:
            damaged: gets the errors of files that cannot be used, which are skipped then.

        Raises:
            InputError: for a file that is not a record, or that is the record of another cell.
        """
        paths = list((self.root / "records").glob(f"{prefix}*.json"))
        with no_garbage():
            for path in paths:
                try:
                    self._read[path] = self._read.get(path) or _record_in(path)
                except InputError as error:
                    if damaged is None:
                        raise
                    damaged.append(error)
        return sorted((self._read[path] for path in paths if path in self._read), key=lambda record: record.created)

    def latest(self, prefix: str = "", damaged: list[InputError] | None = None) -> dict[str, Record]:
        """The newest record of each cell, by id; a failure never replaces a finished one. See ``attempts``."""
        latest: dict[str, Record] = {}
        for record in self.attempts(prefix, damaged):
            if record.result is not None or record.id not in latest or latest[record.id].result is None:
                latest[record.id] = record
        return latest

    def one(self, prefix: str) -> Record:
        """The latest record of the only cell whose id begins with ``prefix``.

        Raises:
            InputError: when there is no such cell, or several.
        """
        found = list(self.latest(prefix).values())
        if len(found) != 1:
            what = f"{len(found)} cells begin with '{prefix}'" if found else f"no cell begins with '{prefix}'"
            raise InputError(f"{what} in {self.root}; list the ids of all cells with ltbench status --json", prefix)
        return found[0]

    # arrays

    def arrays_path(self, cell: str) -> Path:
        """Where the arrays of a cell are stored."""
        return self.root / "arrays" / f"{cell}.npz"

    def write_arrays(self, cell: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Store the arrays of a cell; returns their digest."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(self.arrays_path(cell), buffer.getvalue())
        return digest_of_arrays(arrays)

    def arrays(self, cell: str) -> dict[str, NDArray[Any]]:
        """What the network of a cell predicts for the split that it is measured on, after the last epoch.

        Returns:
            ``labels`` and ``predicted`` classes [N]; float32 [N] each: ``confidence``, the probability of the predicted
            class, ``nll``, -log p of the true class, and ``brier``, the squared distance of the probabilities to the
            one-hot label, from which every metric follows exactly; and ``logits`` [N, C], rounded to float16.
        """
        with np.load(self.arrays_path(cell)) as file:
            return dict(file)

    # stages

    def stage_path(self, stage: str, partial: bool = False) -> Path:
        """Where a trained stage is stored, or its latest checkpoint."""
        return self.root / "stages" / f"{stage}{'.partial' if partial else ''}.pt"

    # plans

    def add_plan(self, name: str, plan: dict[str, Any]) -> None:
        """Store the cells that a run asked for, under a name that its content determines."""
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
        """The lock of this name, held; None where another process holds it. It is freed when the process ends."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Wait for a lock and hold it."""
        with self._lock(name):
            yield

    def is_locked(self, name: str) -> bool:
        """Whether some process holds the lock of this name."""
        if not (self.root / "locks" / name).exists():
            return False
        lock = self.try_lock(name)
        if lock is None:
            return True
        lock.release()
        return False
