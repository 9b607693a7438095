"""Feature files: the features of a data set from one frozen backbone, in one file that is mapped into memory.

The first 4096 bytes contain a line with the name of the format and a line of JSON (``Header``). The labels follow,
int64 [N], then the features, float32 [N, D], those of ``train`` first, then ``val`` and ``test``. The features are
appended to a file of another name, which is renamed when it is complete. So a computation that was interrupted
continues where it was, and an existing file is complete unless it was damaged later.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltbench.data.images import Split
from ltbench.errors import InputError

MAGIC = b"ltbench features 1\n"
HEADER_BYTES = 4096
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Header:
    """Description of a feature file.

    Attributes:
        key: hash of everything that the features depend on.
        splits: number of images of each split, in their order.
        width: D.
        digest: SHA-256 hash of the labels and features.
    """

    key: str
    splits: Mapping[str, int]
    width: int
    digest: str


@dataclass(frozen=True)
class FeatureFile:
    """An existing, complete feature file."""

    path: Path
    header: Header

    def split(self, name: str) -> Split | None:
        """A split whose "images" [n, 1, 1, D] float32 are features, mapped from the file; None if there is none."""
        if name not in self.header.splits:
            return None
        sizes, width = self.header.splits, self.header.width
        start = sum(list(sizes.values())[: list(sizes).index(name)])
        labels = np.fromfile(self.path, np.int64, sizes[name], offset=HEADER_BYTES + 8 * start)
        at = HEADER_BYTES + 8 * sum(sizes.values()) + 4 * width * start
        return Split(np.memmap(self.path, np.float32, "r", at, (sizes[name], 1, 1, width)), labels)

    def intact(self) -> bool:
        """Whether labels and features are those that were written."""
        return _digest(self.path) == self.header.digest


def find(path: Path, key: str) -> FeatureFile | None:
    """The feature file at ``path``, or None if there is none. Reports a damaged file, and ignores it."""
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            length = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    try:
        if not start.startswith(MAGIC):
            raise ValueError("it has another format")
        header = Header(**json.loads(start[len(MAGIC) :].rstrip(b"\0")))
        if header.key != key:
            raise ValueError("it contains other features")
        if length != HEADER_BYTES + sum(header.splits.values()) * (8 + 4 * header.width):
            raise ValueError("it has another length")
    except (ValueError, TypeError) as error:
        print(f"ltbench: feature file {path} is damaged ({error}); computing it again", file=sys.stderr)
        return None
    return FeatureFile(path, header)


class Writer:
    """A feature file while it is computed.

    Args:
        path: the complete file; the incomplete one is beside it.
        key: hash of everything that the features depend on.
        labels: [N] int64.
        splits: number of images of each split, in their order.
        width: D.
        block: images that are computed together: an interrupted block is computed again.

    Attributes:
        done: images whose features are in the file.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(
        self, path: Path, key: str, labels: NDArray[np.int64], splits: Mapping[str, int], width: int, block: int
    ) -> None:
        self.path, self.key, self.splits, self.width = path, key, splits, width
        self.partial = path.with_name(f".{path.name}.partial")
        start, row = HEADER_BYTES + 8 * len(labels), 4 * width
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.partial.open("ab")
            size = self.file.tell()
            self.done = max(0, size - start) // (row * block) * block if size >= start else 0
            if self.done:
                self.file.truncate(start + self.done * row)
            else:
                self.file.truncate(0)
                self.file.write(bytes(HEADER_BYTES) + np.ascontiguousarray(labels, "<i8").tobytes())
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, features: NDArray[np.float32]) -> None:
        """Add the features [n, D] of the next images."""
        try:
            self.file.write(np.ascontiguousarray(features, "<f4").tobytes())
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.done += len(features)

    def finish(self) -> FeatureFile:
        """Complete the file."""
        header = Header(self.key, dict(self.splits), self.width, _digest(self.partial))
        try:
            self.file.close()
            with self.partial.open("r+b") as file:
                file.write((MAGIC + json.dumps(asdict(header)).encode()).ljust(HEADER_BYTES, b"\0"))
                os.fsync(file.fileno())
            self.partial.replace(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        return FeatureFile(self.path, header)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"feature file {self.path} cannot be written ({error.strerror}); free "
            f"{sum(self.splits.values()) * 4 * self.width / 1e9:.1f} GB there, or set $LTBENCH_DATA to another folder"
        )


def _digest(path: Path) -> str:
    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    digest = hashlib.sha256()
    for chunk in chunks():
        digest.update(chunk)
    return digest.hexdigest()
