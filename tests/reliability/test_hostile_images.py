"""Images and archives that are not what their names say."""

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench.data import archives
from tests.reliability.attack import Attack, fault

Make = Callable[..., Path]


def png_of(width: int, height: int) -> bytes:
    """A PNG file that promises many pixels and has none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def checked(attack: Attack, make: Make, put: Callable[[Path], object], says: str, *more: str) -> None:
    """A folder of images in which ``put`` replaces one is refused."""
    root = make({"a": 3, "b": 3})
    path = root / "a" / "000.png"
    path.unlink()
    put(path)
    attack.shown(attack("data", "check", f"imagefolder:{root}", *more), 2, says)


@fault("Images", "a grey PNG with 16 bits per pixel")
def test_a_png_with_16_bits(attack: Attack, picture_folder: Make) -> None:
    deep = Image.fromarray((np.arange(64).reshape(8, 8) * 900).astype(np.uint16))
    checked(attack, picture_folder, deep.save, "a/000.png has 16 bits or more per pixel")


@fault("Images", "a TIFF of floating-point numbers, named .png")
def test_a_float_tiff(attack: Attack, picture_folder: Make) -> None:
    pixels = Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    checked(attack, picture_folder, lambda path: pixels.save(path, format="TIFF"), "convert it to 8 bits per channel")


@fault("Images", "a FIFO in an image folder")
def test_a_fifo(attack: Attack, picture_folder: Make) -> None:
    checked(attack, picture_folder, os.mkfifo, "a/000.png is not a file; remove it")


@fault("Images", "a link to /dev/zero in an image folder")
def test_a_device(attack: Attack, picture_folder: Make) -> None:
    checked(attack, picture_folder, lambda path: path.symlink_to("/dev/zero"), "a/000.png is not a file; remove it")


@fault("Images", "a link to itself in an image folder")
def test_a_link_to_itself(attack: Attack, picture_folder: Make) -> None:
    checked(attack, picture_folder, lambda path: path.symlink_to(path.name), "cannot be read")


@pytest.mark.parametrize("side", [13_000, 100_000])
@fault("Images", "a small PNG file that unpacks to 500 MB or 30 GB")
def test_a_decompression_bomb(attack: Attack, picture_folder: Make, side: int) -> None:
    bomb = png_of(side, side)
    checked(attack, picture_folder, lambda path: path.write_bytes(bomb), "pixels", "--image-size", "8")


@fault("Images", "an image of 60000 x 1 pixels, to be resized to a short side of 256")
def test_a_thin_image(attack: Attack, picture_folder: Make) -> None:
    thin = Image.new("RGB", (60_000, 1))
    checked(attack, picture_folder, thin.save, "has 256x15360000 pixels where at most", "--image-size", "256")


@fault("Images", "an archive that unpacks to more than the published file")
def test_an_archive_that_unpacks_to_more(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FASHION_BYTES", 1000)
    (tmp_path / "fashion").mkdir()
    for name in archives.FASHION_FILES:
        (tmp_path / "fashion" / f"{name}.gz").write_bytes(gzip.compress(bytes(10**7)))
    answer = attack("data", "check", "fashion-mnist", "--data", f"fashion-mnist={tmp_path / 'fashion'}")
    attack.shown(answer, 2, "is not the published file")
    assert len(archives._idx_file(tmp_path / "fashion", "t10k-labels-idx1-ubyte").read_bytes()) < 10**5


@fault("Images", "the archive of CIFAR-10 is one that unpacks to 1 GB")
def test_the_checksum_comes_before_unpacking(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: object, **__: object) -> None:
        raise AssertionError("unpacked before the checksum was compared")

    monkeypatch.setattr(archives.tarfile, "open", unpack)
    (tmp_path / archives.CIFAR10.archive).write_bytes(gzip.compress(bytes(10**6)))
    answer = attack("data", "check", "cifar10", "--data", f"cifar10={tmp_path}")
    attack.shown(answer, 2, "is truncated or altered")
