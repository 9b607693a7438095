"""Feature files: the features of a data set from one frozen backbone, in one file that is mapped into memory.

The first 4096 bytes contain a line with the name of the format and a line of JSON (``Header``). The labels follow,
int64 [N], then the features, float32 [N, D], those of ``train`` first, then ``val`` and ``test``. The features are
appended to a file of another name, which is renamed when it is complete. Its header says at any moment how many
features it has and gives their hash. So a computation that was interrupted continues where it was, unless the file was
damaged, and an existing file is complete unless it was damaged later.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ltbench.data.images import Split
from ltbench.errors import InputError

MAGIC = b"ltbench features 1\n"
PARTIAL = b"ltbench features 1, incomplete\n"
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
        done: number of images whose features are in the file; None: of all of them.
    """

    key: str
    splits: Mapping[str, int]
    width: int
    digest: str
    done: int | None = None

    def write(self, file: BinaryIO) -> None:
        """Replace the start of a file by this header."""
        magic = MAGIC if self.done is None else PARTIAL
        os.pwrite(file.fileno(), (magic + json.dumps(asdict(self)).encode()).ljust(HEADER_BYTES, b"\0"), 0)


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
        return _digest(self.path).hexdigest() == self.header.digest


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

    Attributes:
        done: images whose features are in the file.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: Path, key: str, labels: NDArray[np.int64], splits: Mapping[str, int], width: int) -> None:
        self.path, self.key, self.splits, self.width = path, key, splits, width
        self.partial = path.with_name(f".{path.name}.partial")
        self.start, self.row = HEADER_BYTES + 8 * len(labels), 4 * width
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.partial.touch()
            self.file = self.partial.open("r+b")
            self.digest, self.done = self._resumed()
            if not self.done:
                self._append(np.ascontiguousarray(labels, "<i8").tobytes(), HEADER_BYTES)
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, features: NDArray[np.float32]) -> None:
        """Add the features [n, D] of the next images."""
        at = self.start + self.done * self.row
        self.done += len(features)
        try:
            self._append(np.ascontiguousarray(features, "<f4").tobytes(), at)
        except OSError as error:
            raise self._unwritable(error) from error

    def finish(self) -> FeatureFile:
        """Complete the file."""
        header = self._header(None)
        try:
            self.file.truncate(self.start + self.done * self.row)
            header.write(self.file)
            os.fsync(self.file.fileno())
            self.file.close()
            self.partial.replace(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        return FeatureFile(self.path, header)

    def _resumed(self) -> "tuple[hashlib._Hash, int]":
        """The hash of what an interrupted computation left, and its number of images; 0 where it was damaged."""
        start = os.pread(self.file.fileno(), HEADER_BYTES, 0)
        if not start:
            return hashlib.sha256(), 0
        try:
            header = Header(**json.loads(start.partition(b"\n")[2].rstrip(b"\0")))
            if (header.key, header.splits, header.width) != (self.key, self.splits, self.width):
                raise ValueError("it contains other features")
            done = sum(self.splits.values()) if header.done is None else header.done
            digest = _digest(self.partial, self.start + done * self.row - HEADER_BYTES)
            if digest.hexdigest() != header.digest:
                raise ValueError("it was changed since it was written")
        except (ValueError, TypeError) as error:
            why = f"incomplete feature file {self.partial} is damaged ({error}); computing it from the start"
            print(f"ltbench: {why}", file=sys.stderr)
            return hashlib.sha256(), 0
        return (digest, done) if done else (hashlib.sha256(), 0)

    def _append(self, content: bytes, at: int) -> None:
        """Write labels or features, and then the header that counts them."""
        self.digest.update(content)
        if os.pwrite(self.file.fileno(), content, at) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._header(self.done).write(self.file)

    def _header(self, done: int | None) -> Header:
        return Header(self.key, dict(self.splits), self.width, self.digest.hexdigest(), done)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"feature file {self.path} cannot be written ({error.strerror}); free "
            f"{sum(self.splits.values()) * 4 * self.width / 1e9:.1f} GB there, or set $LTBENCH_DATA to another folder"
        )


def _digest(path: Path, length: int | None = None) -> "hashlib._Hash":
    """The hash of what follows the header of a file, of so many bytes or to its end."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        left = os.fstat(file.fileno()).st_size if length is None else length
        while chunk := file.read(min(CHUNK_BYTES, left)):
            digest.update(chunk)
            left -= len(chunk)
    return digest
