"""Image folders: any layout, any size, grey or colour, decoded once."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench.data import folder, packed
from ltbench.data.images import ImageSet
from ltbench.errors import InputError

Make = Callable[..., Path]


def read(root: Path, side: int | None = None, cache: str = "cache") -> ImageSet:
    return folder.read(root, "pictures", side, root.parent / cache)


def test_without_splits_a_fifth_of_each_class_is_tested(picture_folder: Make) -> None:
    images = read(picture_folder({"cat": 10, "dog": 5, "emu": 2}))
    assert images.classes == ("cat", "dog", "emu")
    assert images.train.counts(3) == [8, 4, 1]
    assert images.test.counts(3) == [2, 1, 1]
    assert images.val is None


def test_given_splits_are_used(picture_folder: Make) -> None:
    for split, n in (("train", 4), ("val", 2), ("test", 3)):
        root = picture_folder({"cat": n, "dog": n}, at=f"pictures/{split}").parent
    images = read(root)
    assert images.val is not None
    assert [len(s) for s in (images.train, images.val, images.test)] == [8, 4, 6]


def test_pixels_are_what_pil_decodes(picture_folder: Make) -> None:
    root = picture_folder({"cat": 4, "dog": 4}, at="pictures/train").parent
    picture_folder({"cat": 2, "dog": 2}, at="pictures/test")
    images = read(root)
    paths = sorted((root / "train").rglob("*.png"))
    assert np.array_equal(images.train.images, np.stack([np.asarray(Image.open(path)) for path in paths]))


def test_grey_folders_stay_grey_and_mixed_ones_become_colour(picture_folder: Make) -> None:
    grey = picture_folder({"a": 3, "b": 3}, mode="L")
    assert read(grey).train.images.shape[-1] == 1
    Image.new("RGB", (8, 8), "red").save(grey / "a" / "red.png")
    assert read(grey).train.images.shape[-1] == 3


def test_sizes_are_made_equal_when_asked(picture_folder: Make) -> None:
    root = picture_folder({"a": 3})
    picture_folder({"b": 3}, size=(20, 10))
    assert read(root, side=6).train.images.shape[1:3] == (6, 6)
    with pytest.raises(InputError, match=r"several sizes.*recipe\.image_size=64"):
        read(root)


def test_a_folder_is_decoded_again_only_where_it_changed(picture_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = picture_folder({"a": 3, "b": 3})
    decoded = []
    decode = packed._decode
    monkeypatch.setattr(packed, "_decode", lambda *args: decoded.append(1) or decode(*args))
    first = read(root).fingerprint
    assert read(root).fingerprint == first
    assert len(decoded) == 1
    root.rename(root.with_name("elsewhere"))
    assert read(root.with_name("elsewhere")).fingerprint == first
    assert len(decoded) == 1
    Image.new("RGB", (8, 8), "red").save(root.with_name("elsewhere") / "a" / "000.png")
    assert read(root.with_name("elsewhere")).fingerprint != first
    assert len(decoded) == 2


def _fingerprint(root: Path) -> str:
    return read(root, side=8).fingerprint


def test_two_processes_may_build_a_cache_at_once(picture_folder: Make) -> None:
    root = picture_folder({"a": 40, "b": 40}, size=(30, 30))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_fingerprint, [root] * 4, chunksize=1)
    assert len(set(found)) == 1
    assert len(list((root.parent / "cache").rglob("*"))) == 2  # one folder, one array, nothing left over


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n truncated"])
def test_an_unreadable_image_is_named(picture_folder: Make, content: bytes) -> None:
    root = picture_folder({"a": 3, "b": 3})
    (root / "b" / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png cannot be read"):
        read(root)
    assert not [path for path in (root.parent / "cache").rglob("*") if path.is_file()]


def test_a_truncated_jpeg_is_named(picture_folder: Make) -> None:
    root = picture_folder({"a": 3, "b": 3}, size=(64, 64))
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "a" / "x.jpg")
    whole = (root / "a" / "x.jpg").read_bytes()
    (root / "a" / "x.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"x\.jpg cannot be read"):
        read(root)


def test_a_class_without_images_is_named(picture_folder: Make) -> None:
    root = picture_folder({"a": 3, "b": 3})
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="empty contains no image"):
        read(root)


def test_a_class_of_one_image_cannot_be_split(picture_folder: Make) -> None:
    with pytest.raises(InputError, match="class 'b'.*has one image"):
        read(picture_folder({"a": 3, "b": 1}))


def test_a_class_that_is_only_in_one_split_is_named(picture_folder: Make) -> None:
    root = picture_folder({"a": 3, "b": 3}, at="pictures/train").parent
    picture_folder({"a": 3, "c": 3}, at="pictures/test")
    with pytest.raises(InputError, match="class 'b' is not in both"):
        read(root)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
