"""Packed files: the decoded images of a folder in one file, which is memory-mapped, so that they are decoded only once.

The first 4096 bytes contain a line with the name of the format and a line of JSON (``Header``). The pixels follow,
uint8 [N, H, W, channels]. A file is written under another name and renamed when it is complete. So several processes
may build the same file at the same time, and an existing file is complete unless it was damaged later.
"""

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from ltbench.data.resize import square
from ltbench.errors import InputError

MAGIC = b"ltbench packed images 1\n"
HEADER_BYTES = 4096
DEEP_MODES = ("I", "F")
"""Start of the names of Pillow's modes with one channel of 16 or 32 bits, or of floating-point numbers."""
MOST_PIXELS = 89_478_485
"""Pixels of an image, before and after resizing: above them Pillow warns of a decompression bomb."""
BLOCK = 1024  # images decoded between two checks of the time
REPORT_EVERY_S = 5.0

INTACT: set[tuple[str, int, int]] = set()
"""The packed files that this process has read: path, inode and time."""

Images = Callable[[int, int], NDArray[np.uint8]]
"""(start, stop) -> memory map of these images [stop - start, H, W, channels]."""


@dataclass(frozen=True)
class Header:
    """Description of a packed file.

    Attributes:
        key: hash of the image files and of ``side``.
        shape: N, H, W, channels.
        side: height and width that images were resized to; None: not resized.
        decoder: name and version of the library that decoded the images.
        fingerprint: of the data set (see ``ImageSet.fingerprint``).
        source: absolute path of the folder, list or table; empty in files of older versions.
    """

    key: str
    shape: tuple[int, ...]
    side: int | None
    decoder: str
    fingerprint: str
    source: str = ""


@dataclass(frozen=True)
class Packed:
    """An existing, complete packed file."""

    path: Path
    header: Header

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Map images ``start`` to ``stop`` from the file: [stop - start, H, W, channels]."""
        return _mapped(self.path, self.header.shape, start, stop)


def find(path: Path, key: str, fingerprint: Callable[[Images], str]) -> Packed | None:
    """Return the packed file at ``path``, or None if there is none. Reports a damaged file, and ignores it.

    All its pixels are read once in the life of a process, to see that they are those that were written.

    Args:
        path: the packed file.
        key: that its header must have.
        fingerprint: see ``build``.
    """
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    length, as_it_is = found.st_size, (str(path), found.st_ino, found.st_mtime_ns)
    try:
        if not start.startswith(MAGIC):
            raise ValueError("it has another format")
        values = json.loads(start[len(MAGIC) :])
        header = Header(**values | {"shape": tuple(values["shape"])})
        if header.key != key:
            raise ValueError("it contains other images")
        if length != HEADER_BYTES + math.prod(header.shape):
            raise ValueError(f"it has {length} bytes instead of {HEADER_BYTES + math.prod(header.shape)}")
        if as_it_is not in INTACT:
            if fingerprint(lambda start, stop: _mapped(path, header.shape, start, stop)) != header.fingerprint:
                raise ValueError("its pixels were changed since it was written")
            INTACT.add(as_it_is)
    except (ValueError, TypeError, KeyError) as error:
        print(f"ltbench: image cache {path} is damaged ({error}); building it again", file=sys.stderr)
        return None
    return Packed(path, header)


def header_of(path: Path) -> Header | None:
    """Return the header of a packed file; None where it has none."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    try:
        return Header(**json.loads(start[len(MAGIC) :])) if start.startswith(MAGIC) else None
    except (ValueError, TypeError):
        return None


def build(
    path: Path,
    key: str,
    root: Path,
    files: Sequence[Path],
    side: int | None,
    interpolation: str,
    fingerprint: Callable[[Images], str],
) -> Packed:
    """Decode images into a packed file.

    Args:
        path: the packed file to write.
        key: stored in its header.
        root: the image folder, list or table, for messages.
        files: the N image files.
        side: height and width in pixels that images are resized to (central square); None: all must have the same size.
        interpolation: how they are resized.
        fingerprint: function that computes the fingerprint of the data set from its images.

    Raises:
        InputError: for an unreadable image, images of different sizes, and if the file cannot be written.
    """
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # it is an error here
    with ThreadPoolExecutor() as pool:
        shape = (len(files), *_shape(pool, root, files, side))
        building = path.with_name(f".{uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with building.open("w+b") as file:
                _decode(pool, root, files, side, interpolation, shape, file.fileno())
                found = fingerprint(lambda start, stop: _mapped(building, shape, start, stop))
                header = Header(key, shape, side, f"Pillow {PIL.__version__}", found, str(root.resolve()))
                os.pwrite(file.fileno(), (MAGIC + json.dumps(asdict(header)).encode()).ljust(HEADER_BYTES), 0)
                os.fsync(file.fileno())
            building.replace(path)
        except OSError as error:
            raise InputError(
                f"image cache {path.parent} cannot be written ({error.strerror}); free "
                f"{math.prod(shape) / 1e9:.1f} GB there, or set $LTBENCH_DATA to another folder"
            ) from error
        finally:
            building.unlink(missing_ok=True)
    return Packed(path, header)


def short_side(files: Sequence[Path]) -> int:
    """The median short side in pixels of up to a hundred of these image files, which are spread over all."""
    sides = []
    for path in files[:: max(1, len(files) // 100)]:
        with _opened(path) as image:
            sides.append(min(image.size))
    return sorted(sides)[len(sides) // 2]


def _mapped(path: Path, shape: tuple[int, ...], start: int, stop: int) -> NDArray[np.uint8]:
    offset = HEADER_BYTES + start * math.prod(shape[1:])
    return np.memmap(path, np.uint8, "r", offset, (stop - start, *shape[1:]))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                raise InputError(
                    f"image {path} has 16 bits or more per pixel (mode {image.mode}), which Pillow would saturate; "
                    "convert it to 8 bits per channel, or remove it"
                )
            check_pixels(path, *image.size)
            yield image
    except InputError:
        raise
    except Exception as error:  # the decoders of damaged files raise many types
        reason = str(error).split("'")[0].strip() or type(error).__name__
        raise InputError(f"image {path} cannot be read ({reason}); replace or remove it") from error


def check_pixels(path: Path, width: int, height: int) -> None:
    """Raises InputError for an image of so many pixels that decoding it may need more memory than there is."""
    if width * height > MOST_PIXELS:
        raise InputError(
            f"image {path} has {width}x{height} pixels where at most {MOST_PIXELS} are allowed; scale it down, "
            "crop it, or remove it"
        )


def _shape(pool: ThreadPoolExecutor, root: Path, files: Sequence[Path], side: int | None) -> tuple[int, int, int]:
    """Find H, W and channels of the decoded images from the image headers: one channel if all images are grey."""

    def inspect(path: Path) -> tuple[tuple[int, int], bool]:
        with _opened(path) as image:
            if side is not None:  # a thin image grows much before it is cropped
                check_pixels(path, side, round(max(image.size) * side / min(image.size)))
            return image.size, image.mode in ("1", "L")

    found = set(pool.map(inspect, files))
    sizes = {size for size, _ in found} if side is None else {(side, side)}
    if len(sizes) > 1:
        two = " and ".join(f"{width}x{height}" for width, height in sorted(sizes)[:2])
        raise InputError(
            f"images in {root} have several sizes ({two}); set one with --set recipe.image_size=64 (or another side)"
        )
    width, height = sizes.pop()
    return height, width, 1 if all(grey for _, grey in found) else 3


def _decode(
    pool: ThreadPoolExecutor,
    root: Path,
    files: Sequence[Path],
    side: int | None,
    interpolation: str,
    shape: tuple[int, ...],
    file: int,
) -> None:
    """Write the pixels of every image to its position in an open file."""
    image_bytes = math.prod(shape[1:])

    def write(number: int) -> None:
        with _opened(files[number]) as image:
            picture = image.convert("RGB")
            pixels = np.asarray(square(picture, side, interpolation) if side else picture)
        content = pixels[..., : shape[-1]].tobytes()
        if os.pwrite(file, content, HEADER_BYTES + number * image_bytes) != image_bytes:
            raise OSError(0, "the disk is full")

    reported = time.monotonic()
    for start in range(0, len(files), BLOCK):
        list(pool.map(write, range(start, min(start + BLOCK, len(files)))))
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            done = min(start + BLOCK, len(files))
            print(f"ltbench: {root}: {done} of {len(files)} images decoded", file=sys.stderr, flush=True)
