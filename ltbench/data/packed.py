"""A packed file: the decoded images of a folder, one after another, to be memory-mapped and never decoded again.

Its first 4096 bytes say what it holds: a line that names the format, then one of JSON (``Header``). The pixels follow,
uint8 [N, H, W, channels]. It is written under another name and renamed when it is whole, so any number of processes may
build the same one at once, and a file that is there is complete unless something damaged it later.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ltbench.data.resize import square
from ltbench.errors import InputError

MAGIC = b"ltbench packed images 1\n"
HEADER_BYTES = 4096
BLOCK = 1024  # images decoded between two looks at the clock
TELL_EVERY_S = 5.0

Images = Callable[[int, int], NDArray[np.uint8]]
"""(start, stop) -> memory map of these images [stop - start, H, W, channels]."""


@dataclass(frozen=True)
class Header:
    """What a packed file holds, and what made it.

    Attributes:
        key: identifies the files and the side that it was made of.
        shape: N, H, W, channels.
        side: that images were resized to; None: as they were.
        decoder: with its version.
        fingerprint: of the data set (see ``ImageSet.fingerprint``).
    """

    key: str
    shape: tuple[int, ...]
    side: int | None
    decoder: str
    fingerprint: str


@dataclass(frozen=True)
class Packed:
    """A packed file that is there and whole."""

    path: Path
    header: Header

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Images ``start`` to ``stop`` as a memory map [stop - start, H, W, channels]."""
        return _mapped(self.path, self.header.shape, start, stop)


def find(path: Path, key: str) -> Packed | None:
    """The packed file at ``path``; None where there is none. One that is damaged is told of and counts as none."""
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            length = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    try:
        if not start.startswith(MAGIC):
            raise ValueError("it is of another format")
        values = json.loads(start[len(MAGIC) :])
        header = Header(**values | {"shape": tuple(values["shape"])})
        if header.key != key:
            raise ValueError("it holds other images")
        if length != HEADER_BYTES + math.prod(header.shape):
            raise ValueError(f"it has {length} bytes in place of {HEADER_BYTES + math.prod(header.shape)}")
    except (ValueError, TypeError, KeyError) as error:
        print(f"ltbench: image cache {path} is damaged ({error}); it is built again", file=sys.stderr)
        return None
    return Packed(path, header)


def build(
    path: Path,
    key: str,
    root: Path,
    files: Sequence[Path],
    side: int | None,
    fingerprint: Callable[[Images], str],
) -> Packed:
    """Decode images into a packed file.

    Args:
        path: of the packed file.
        key: kept in its header.
        root: the folder, as messages name it.
        files: of the N images.
        side: they are resized to (the central square); None: they must all be of one size.
        fingerprint: of the data set whose images these are.

    Raises:
        InputError: for an unreadable image, sizes that differ, and where the file cannot be written.
    """
    with ThreadPoolExecutor() as pool:
        shape = (len(files), *_shape(pool, root, files, side))
        building = path.with_name(f".{uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with building.open("w+b") as file:
                _decode(pool, root, files, side, shape, file.fileno())
                found = fingerprint(lambda start, stop: _mapped(building, shape, start, stop))
                header = Header(key, shape, side, f"Pillow {PIL.__version__}", found)
                os.pwrite(file.fileno(), (MAGIC + json.dumps(asdict(header)).encode()).ljust(HEADER_BYTES), 0)
                os.fsync(file.fileno())
            building.replace(path)
        except OSError as error:
            raise InputError(
                f"image cache {path.parent} cannot be written ({error.strerror}); it needs "
                f"{math.prod(shape) / 1e9:.1f} GB there, or in another folder that $LTBENCH_DATA names"
            ) from error
        finally:
            building.unlink(missing_ok=True)
    return Packed(path, header)


def _mapped(path: Path, shape: tuple[int, ...], start: int, stop: int) -> NDArray[np.uint8]:
    offset = HEADER_BYTES + start * math.prod(shape[1:])
    return np.memmap(path, np.uint8, "r", offset, (stop - start, *shape[1:]))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        reason = str(error).split("'")[0].strip() or type(error).__name__
        raise InputError(f"image {path} cannot be read ({reason}); replace or remove it") from error


def _shape(pool: ThreadPoolExecutor, root: Path, files: Sequence[Path], side: int | None) -> tuple[int, int, int]:
    """H, W, channels that all images are decoded to, from their headers alone: one channel if all are grey."""

    def inspect(path: Path) -> tuple[tuple[int, int], bool]:
        with _opened(path) as image:
            return image.size, image.mode in ("1", "L")

    found = set(pool.map(inspect, files))
    sizes = {size for size, _ in found} if side is None else {(side, side)}
    if len(sizes) > 1:
        two = " and ".join(f"{width}x{height}" for width, height in sorted(sizes)[:2])
        raise InputError(
            f"images in {root} are of several sizes ({two}); add --set recipe.image_size=64 (or another side)"
        )
    width, height = sizes.pop()
    return height, width, 1 if all(grey for _, grey in found) else 3


def _decode(
    pool: ThreadPoolExecutor, root: Path, files: Sequence[Path], side: int | None, shape: tuple[int, ...], file: int
) -> None:
    """Write the pixels of every image to its place in an open file."""
    image_bytes = math.prod(shape[1:])

    def write(number: int) -> None:
        with _opened(files[number]) as image:
            pixels = np.asarray(square(image.convert("RGB"), side) if side else image.convert("RGB"))
        content = pixels[..., : shape[-1]].tobytes()
        if os.pwrite(file, content, HEADER_BYTES + number * image_bytes) != image_bytes:
            raise OSError(0, "the disk is full")

    told = time.monotonic()
    for start in range(0, len(files), BLOCK):
        list(pool.map(write, range(start, min(start + BLOCK, len(files)))))
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            done = min(start + BLOCK, len(files))
            print(f"ltbench: {root}: {done} of {len(files)} images decoded", file=sys.stderr, flush=True)
