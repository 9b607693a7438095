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
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import InputError, one_line, say_once
from ltbench.results.files import files_in, read_whole, write_whole
from ltbench.results.folders import check_folders, sweep
from ltbench.results.leases import Lease, Leases, Lost
from ltbench.results.plans import read_plan
from ltbench.results.record import Record, now

BYTES_OF_AN_IMAGE = 64
"""More than an image has in all arrays without its logits."""
BYTES_OF_HEADERS = 1 << 20


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


class NoPredictions(InputError):
    """The predictions of a cell are not stored any more."""


class Store:
    """Results in a folder.

    Every record is read once, since it never changes.

    Args:
        root: the folder; it need not exist before something is written.
    """

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)
        self._read: dict[Path, Record] = {}
        self._chosen: dict[tuple[str, ...], Record] = {}
        self._leases = Leases(self.root / "locks")
        self._held: dict[str, Lease] = {}

    def prepare(self) -> None:
        """Make the folder, and remove what killed processes left in it: locks at once, parts of files after a day.

        Raises:
            InputError: when nothing can be written into it, or a part of it leads to another place.
        """
        check_folders(self.root)
        try:
            probe = self.root / f".{uuid4().hex}.tmp"
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"results folder {self.root} cannot be written ({error.strerror}); give another one with --results"
            ) from error
        sweep(self.root)
        self._leases.sweep()

    # records

    def add(self, record: Record) -> None:
        """Store a record, in a file that is named after its cell and its time.

        Raises:
            Lost: where this process had locked the cell and another process has it now, so a record is published once.
        """
        self._check_own(record.id)
        write_whole(self.root / "records" / _file_name(record), record.write())

    def attempts(self, prefix: str = "", damaged: list[InputError] | None = None) -> list[Record]:
        """All records of cells whose id begins with ``prefix``, oldest first.

        Args:
            damaged: gets the errors of files that cannot be used, which are skipped then.

        Raises:
            InputError: for a file that is not a record, or that is the record of another cell.
        """
        paths = [path for path in files_in(self.root / "records", ".json") if path.name.startswith(prefix)]
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
        """The newest record of each cell, by id; a failure never replaces a finished one. See ``attempts``.

        Of finished records with different results, as in merged folders, the newest one that the stored predictions
        belong to; one line on stderr names the conflict.
        """
        latest: dict[str, Record] = {}
        finished: dict[str, list[Record]] = {}
        for record in self.attempts(prefix, damaged):
            if record.result is not None:
                finished.setdefault(record.id, []).append(record)
            if record.result is not None or record.id not in latest or latest[record.id].result is None:
                latest[record.id] = record
        for cell, records in finished.items():
            if any(record.finished.numbers != records[0].finished.numbers for record in records):
                latest[cell] = self._without_conflict(records)
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

    def _without_conflict(self, records: list[Record]) -> Record:
        """The record of a cell that is used, of several with different results, oldest first."""
        key = tuple(map(_file_name, records))
        if key not in self._chosen:
            path = self.arrays_path(records[0].id)
            try:
                stored = digest_of_arrays(self._arrays_in(path, records[0]))
            except InputError:
                stored = ""
            fitting = [record for record in records if record.finished.arrays == stored]
            self._chosen[key] = (fitting or records)[-1]
            why = f"{path} belongs to it" if fitting else f"which is the newest; {path} belongs to none of them"
            say_once(
                f"{len(records)} records of cell {records[0].id} have different results ({', '.join(key)}); "
                f"{_file_name(self._chosen[key])} is used: {why}; remove the others from {self.root / 'records'}"
            )
        return self._chosen[key]

    def again(self, record: Record) -> str:
        """The commands that train a finished cell again, in which the record cannot hide another one."""
        try:
            words = shlex.split(record.command)
        except ValueError:
            words = [record.command]
        words += [] if self.root == Path("results") else ["--results", str(self.root)]
        return f"rm {shlex.quote(str(self.root / 'records' / record.id))}-*.json && {shlex.join(words)}"

    # arrays

    def arrays_path(self, cell: str) -> Path:
        """Where the arrays of a cell are stored."""
        return self.root / "arrays" / f"{cell}.npz"

    def write_arrays(self, cell: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Store the arrays of a cell; returns their digest.

        Raises:
            Lost: as ``add``.
        """
        self._check_own(cell)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(self.arrays_path(cell), buffer.getvalue())
        return digest_of_arrays(arrays)

    def arrays(self, record: Record) -> dict[str, NDArray[Any]]:
        """What the network of a finished cell predicts for the split that it is measured on, after the last epoch.

        Returns:
            ``labels`` and ``predicted`` classes [N]; float32 [N] each: ``confidence``, the probability of the predicted
            class, ``nll``, -log p of the true class, and ``brier``, the squared distance of the probabilities to the
            one-hot label, from which every metric follows exactly; and ``logits`` [N, C], rounded to float16.

        Raises:
            NoPredictions: where they are missing.
            InputError: where they are not those that were stored with the record.
        """
        path = self.arrays_path(record.id)
        found = self._arrays_in(path, record)
        if digest_of_arrays(found) != record.finished.arrays:
            raise InputError(f"predictions {path} are not those of the record; {self._restore(record)}")
        return found

    def _arrays_in(self, path: Path, record: Record) -> dict[str, NDArray[Any]]:
        """The arrays in a file, of which the record says how large they can be."""
        if not path.exists():
            raise NoPredictions(f"predictions {path} are missing; {self._restore(record)}")
        result = record.finished
        most = sum(result.test_counts) * (2 * len(result.test_counts) + BYTES_OF_AN_IMAGE) + BYTES_OF_HEADERS
        try:
            with np.load(io.BytesIO(read_whole(path))) as file:
                if (size := sum(member.file_size for member in file.zip.infolist())) > most:
                    raise ValueError(f"{size} bytes where at most {most} are possible")
                return dict(file)
        except InputError:
            raise
        except Exception as error:  # numpy and zipfile raise a different error for each kind of damage
            raise InputError(f"predictions {path} are damaged ({one_line(error)}); {self._restore(record)}") from error

    def _restore(self, record: Record) -> str:
        return f"restore the file, or train the cell again: {self.again(record)}"

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
        """All plans, oldest first; one line on stderr names each file that is not a plan, which is skipped."""
        plans = []
        for path in files_in(self.root / "plans", ".json"):
            try:
                plans.append(read_plan(path))
            except InputError as error:
                say_once(f"skipped: {error}")
        return sorted(plans, key=lambda plan: str(plan["created"]))

    # locks

    def try_lock(self, name: str) -> Lease | None:
        """The lock of this name, held; None where another process holds it. See `Leases`."""
        lease = self._leases.take(name)
        if lease is not None:
            self._held[name] = lease
        return lease

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Wait for a lock and hold it."""
        lease = self._leases.take(name, wait=True)
        assert lease is not None
        try:
            yield
        finally:
            lease.release()

    def is_locked(self, name: str) -> bool:
        """Whether some process holds the lock of this name."""
        return self._leases.taken(name)

    def _check_own(self, cell: str) -> None:
        """Raise Lost where this process has locked a cell, and another process has the lock now."""
        if cell in self._held and self._held[cell].lost:
            raise Lost("its lock expired while this process slept, and another process took it over")
