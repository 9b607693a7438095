"""The packed file of a folder: read without decoding, never trusted when damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltbench.data import Imbalance, cut, folder, load, packed
from ltbench.data.images import ImageSet, Split, mean_and_std
from ltbench.errors import InputError

Make = Callable[..., Path]


def read(root: Path, side: int | None = None) -> ImageSet:
    return folder.read(root, "pictures", side, root.parent / "cache")


def file_of(images: ImageSet) -> Path:
    return Path(images.train.images.filename)  # type: ignore[attr-defined]


def test_another_read_decodes_nothing_and_reads_no_pixel_more_than_once_a_process(
    picture_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = picture_folder({"a": 6, "b": 5}, size=(20, 14))
    first = read(root, side=8)
    pixels = [split.pixels().copy() for split in (first.train, first.test)]
    monkeypatch.setattr(packed, "_opened", None)
    read(root, side=8)
    monkeypatch.setattr(Split, "chunks", None)
    second = read(root, side=8)
    assert second.fingerprint == first.fingerprint
    assert all(np.array_equal(*pair) for pair in zip(pixels, (second.train.images, second.test.images), strict=True))
    assert isinstance(second.train.images, np.memmap)


def test_the_fingerprint_in_the_header_is_that_of_the_pixels(picture_folder: Make) -> None:
    found = read(picture_folder({"a": 6, "b": 5}))
    in_memory = ImageSet(
        found.name,
        found.classes,
        *(Split(np.array(split.images), split.labels) for split in (found.train, found.test)),
    )
    assert found.fingerprint == in_memory.fingerprint


def test_the_header_says_what_made_it(picture_folder: Make) -> None:
    path = file_of(read(picture_folder({"a": 6, "b": 5}), side=4))
    with path.open("rb") as file:
        assert file.readline() == packed.MAGIC
        header = json.loads(file.read(packed.HEADER_BYTES - len(packed.MAGIC)))
    assert (header["shape"], header["side"]) == ([11, 4, 4, 3], 4)
    assert header["decoder"].startswith("Pillow ")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "bytes instead of"),
        (lambda content: content + b"x", "bytes instead of"),
        (lambda content: b"", "another format"),
        (lambda content: b"\x93NUMPY" + content[6:], "another format"),
        (lambda content: content.replace(b'"key": "', b'"key": "0', 1), "other images"),
        (lambda content: content.replace(b'"shape"', b'"shade"', 1), "'shape'"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "its pixels were changed"),
        (lambda content: content.replace(b'"fingerprint": "', b'"fingerprint": "0', 1)[:-1], "its pixels were changed"),
    ],
)
def test_a_damaged_file_is_reported_and_built_again(
    picture_folder: Make,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    root = picture_folder({"a": 6, "b": 5})
    first = read(root)
    whole = file_of(first).read_bytes()
    file_of(first).unlink()
    file_of(first).write_bytes(damage(whole))
    assert read(root).fingerprint == first.fingerprint
    (line,) = capsys.readouterr().err.splitlines()
    assert "is damaged" in line and reason in line and "building it again" in line
    assert file_of(first).read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_named(picture_folder: Make) -> None:
    with pytest.raises(InputError, match=r"image cache .* cannot be written .* \$LTBENCH_DATA"):
        folder.read(picture_folder({"a": 6, "b": 5}), "pictures", None, Path("/proc/nowhere"))


def test_slow_decoding_is_reported(
    picture_folder: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(picture_folder({"a": 6, "b": 5}))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(packed, "REPORT_EVERY_S", 0)
    read(picture_folder({"a": 6, "b": 5}, at="more"))
    assert "11 of 11 images decoded" in capsys.readouterr().err


def test_a_cut_of_a_packed_set_reads_as_one_of_a_set_in_memory(picture_folder: Make) -> None:
    found = read(picture_folder({"a": 40, "b": 30, "c": 20}))
    memory = ImageSet("x", found.classes, Split(np.array(found.train.images), found.train.labels), found.test)
    one, other = (cut(images, Imbalance("exp", 4), holdout=3) for images in (found, memory))
    assert one.train.in_file and not other.train.in_file
    assert np.array_equal(one.train.pixels(), other.train.pixels())
    assert one.val is not None and other.val is not None
    assert np.array_equal(one.val.pixels(), other.val.pixels())
    assert (one.counts, one.mean, one.std) == (other.counts, other.mean, other.std)


def test_mean_and_deviation_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(50, 6, 5, 3), dtype=np.uint8)
    monkeypatch.setattr("ltbench.data.images.CHUNK_BYTES", 700)  # several chunks
    mean, std = mean_and_std(Split(pixels, np.zeros(50, np.int64)))
    flat = pixels.reshape(-1, 3) / 255
    assert mean == pytest.approx(flat.mean(axis=0), rel=1e-12)
    assert std == pytest.approx(flat.std(axis=0), rel=1e-12)
    white = np.full((70_000, 1, 1, 1), 255, np.uint8)  # more than fit one sum of squares
    assert mean_and_std(Split(white, np.zeros(70_000, np.int64))) == ((1.0,), (1e-3,))


def test_digits_are_normalised_as_before() -> None:
    data = cut(load("digits"), Imbalance("exp", 20))
    pixels = data.train.images.reshape(-1, 1)
    assert np.float32(data.mean) == np.float32(pixels.mean(axis=0, dtype=np.float64) / 255)
    assert np.float32(data.std) == np.float32(pixels.std(axis=0, dtype=np.float64) / 255)
