"""Readers of published files, on small files of the same format; the real ones where they are at hand."""

import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench.data import archives, load, sources
from ltbench.data.archives import CIFAR100, DEBIAN_FASHION, CifarFormat, read_cifar
from ltbench.data.official import CIFAR_MEAN, CIFAR_STD, OFFICIAL, Official
from ltbench.errors import InputError


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes alike as the byte strings of Python 2, in which CIFAR is published."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


@pytest.fixture
def small_cifar100(tmp_path: Path) -> tuple[CifarFormat, Path, np.ndarray, np.ndarray]:
    """A CIFAR-100 archive of 40 + 20 images."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(60, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(60) % 20

    def batch(part: slice) -> bytes:
        rows = pixels[part].reshape(-1, 3072)
        return python2_pickle(
            {"data": rows, "fine_labels": labels[part].tolist(), "coarse_labels": [0] * len(rows), "batch_label": ""}
        )

    names = {"fine_label_names": [f"class{i}" for i in range(20)], "coarse_label_names": ["all"]}
    files = {"train": batch(slice(40)), "test": batch(slice(40, 60)), "meta": python2_pickle(names)}
    home = tmp_path / "archive"
    home.mkdir()
    with tarfile.open(home / CIFAR100.archive, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{CIFAR100.folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    form = replace(
        CIFAR100,
        archive_md5=md5((home / CIFAR100.archive).read_bytes()),
        train={"train": md5(files["train"])},
        test={"test": md5(files["test"])},
        meta=("meta", md5(files["meta"])),
    )
    return form, home, pixels, labels


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_small_archive_of_cifar100s_format(
    small_cifar100: tuple[CifarFormat, Path, np.ndarray, np.ndarray], unpacked: bool
) -> None:
    form, home, pixels, labels = small_cifar100
    if unpacked:
        with tarfile.open(home / form.archive) as tar:
            tar.extractall(home, filter="data")
        (home / form.archive).unlink()
    images = read_cifar(form, home)
    order = np.argsort(labels[:40], kind="stable")
    assert np.array_equal(images.train.images, pixels[:40][order].transpose(0, 2, 3, 1))
    assert np.array_equal(images.test.images, pixels[40:].transpose(0, 2, 3, 1))
    assert np.array_equal(images.train.labels, labels[:40][order])
    assert images.classes == tuple(f"class{i}" for i in range(20))
    assert images.mean == (0.4914, 0.4822, 0.4465)


def test_official_images_have_one_fingerprint_and_their_own_name_in_an_archive_and_in_a_folder(
    small_cifar100: tuple[CifarFormat, Path, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, home, pixels, labels = small_cifar100
    for place, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "folder" / ("train" if place < 40 else "test") / f"class{label:02}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{place:04}.png")
    packed, unknown = read_cifar(form, home), load(f"imagefolder:{tmp_path / 'folder'}")
    assert unknown.fingerprint == packed.fingerprint
    assert (unknown.name, unknown.mean) == ("imagefolder:folder", None)
    monkeypatch.setitem(OFFICIAL, packed.fingerprint, Official("cifar10", "the test split", CIFAR_MEAN, CIFAR_STD))
    known = load(f"imagefolder:{tmp_path / 'folder'}")
    assert (known.name, known.mean, sources.tested("cifar10", known)) == ("cifar10", packed.mean, "the test split")
    assert np.array_equal(known.train.pixels(), packed.train.images)


def test_the_archive_itself_may_be_named(
    small_cifar100: tuple[CifarFormat, Path, np.ndarray, np.ndarray],
) -> None:
    form, home, _, _ = small_cifar100
    assert len(read_cifar(form, home / form.archive).train) == 40


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_archive_is_refused(
    small_cifar100: tuple[CifarFormat, Path, np.ndarray, np.ndarray], damage: str
) -> None:
    form, home, _, _ = small_cifar100
    path = home / form.archive
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[:-100]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or altered"):
        read_cifar(form, home)


def test_an_altered_unpacked_file_is_refused(
    small_cifar100: tuple[CifarFormat, Path, np.ndarray, np.ndarray],
) -> None:
    form, home, _, _ = small_cifar100
    with tarfile.open(home / form.archive) as tar:
        tar.extractall(home, filter="data")
    with (home / form.folder / "train").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="truncated or altered"):
        read_cifar(form, home)


def test_a_place_without_the_archive_names_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither cifar-100-python\.tar\.gz nor cifar-100-python/"):
        load("cifar100", where={"cifar100": str(tmp_path)})


def test_a_place_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder; correct the path"):
        load("cifar10", where={"cifar10": str(tmp_path / "nowhere")})


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR100", offline)
    with pytest.raises(
        InputError, match=r"cannot be downloaded \(OSError: no route to host\); put cifar-100-python\.tar\.gz into"
    ):
        load("cifar100")


def test_digits() -> None:
    images = load("digits")
    assert images.train.images.shape == (1200, 8, 8, 1)
    assert images.train.counts(10) == [120] * 10
    assert images.test.counts(10) == [58, 62, 57, 63, 61, 62, 61, 59, 54, 60]
    assert images.train.images.max() == 255
    both = {x.tobytes() for x in images.train.images} & {x.tobytes() for x in images.test.images}
    assert len(both) == 0


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs = {
        np.round(x * 255 / 16).astype(np.uint8).tobytes(): y for x, y in zip(*load_digits(return_X_y=True), strict=True)
    }
    images = load("digits")
    for split in (images.train, images.test):
        assert [theirs[x.tobytes()] for x in split.images] == split.labels.tolist()


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist() -> None:
    images = load("fashion-mnist")
    assert images.train.images.shape == (60_000, 28, 28, 1)
    assert images.train.counts(10) == [6000] * 10
    assert images.test.counts(10) == [1000] * 10


def test_fashion_mnist_with_another_content_is_refused(tmp_path: Path) -> None:
    import gzip

    header = bytes([0, 0, 8, 1]) + (4).to_bytes(4, "big")
    for name in archives.FASHION_FILES:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(header + bytes(4)))
    with pytest.raises(InputError, match="checksum differs"):
        load("fashion-mnist", where={"fashion-mnist": str(tmp_path)})


def test_image_size_resizes_any_source() -> None:
    images = load("digits", image_size=12)
    assert images.train.images.shape == (1200, 12, 12, 1)
    assert images.fingerprint != load("digits").fingerprint
