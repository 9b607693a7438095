"""Image folders: any layout, any size, grey or colour, decoded once."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader

from ltbench.data import folder, packed
from ltbench.data.files import FileSet
from ltbench.errors import InputError

Make = Callable[..., Path]


def read(root: Path, side: int | None = None, cache: str = "cache") -> FileSet:
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


@pytest.mark.slow
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


def test_without_a_test_folder_val_is_the_test_set(picture_folder: Make) -> None:
    for split, n in (("train", 5), ("val", 2)):
        root = picture_folder({"cat": n, "dog": n}, at=f"pictures/{split}").parent
    images = read(root)
    assert images.val is None
    assert [len(s) for s in (images.train, images.test)] == [10, 4]
    assert images.tested == f"{root / 'val'} (there is no test split, so its validation images are the test images)"


def test_the_source_of_the_test_images_is_in_words(picture_folder: Make) -> None:
    single = picture_folder({"cat": 10, "dog": 5})
    assert read(single).tested == "a fifth of each class, chosen by ltbench with a fixed seed (there is no test split)"
    for split in ("train", "test"):
        root = picture_folder({"cat": 3, "dog": 3}, at=f"split/{split}").parent
    assert read(root).tested == str(root / "test")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["val/a", "test/a"], "has test and val but no train; name"),
        (["training/a", "validation/a"], "has training and validation but no train; name"),
        (["train/a", "valid/a"], "valid is not read; rename it to val"),
        (["train/a", "train/b", "test"], "test has no class folders; put the images of each class into a folder"),
    ],
)
def test_a_wrong_layout_is_named(picture_folder: Make, folders: list[str], message: str) -> None:
    for name in folders:
        if "/" in name:
            split, c = name.split("/")
            root = picture_folder({c: 2}, at=f"pictures/{split}").parent
        else:
            (root / name).mkdir()
    with pytest.raises(InputError, match=message):
        read(root)


def test_what_is_not_a_file_is_named(picture_folder: Make) -> None:
    root = picture_folder({"a": 3, "b": 3})
    os.mkfifo(root / "a" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is not a file; remove it"):
        read(root)
    (root / "a" / "pipe.png").unlink()
    (root / "a" / "link.png").symlink_to("nothing")
    with pytest.raises(InputError, match=r"link\.png does not exist; remove this link"):
        read(root)


def saved(name: str, picture: Image.Image, **options: Any) -> Callable[[Path], None]:
    """Writes a picture into a folder."""
    return lambda folder: picture.save(folder / name, **options)


PIXELS = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)
COLOUR = Image.fromarray(PIXELS)
FRAMES = {"save_all": True, "append_images": [COLOUR.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]}
TURNED = Image.Exif()
TURNED[0x0112] = 6  # orientation: turn by 90 degrees


@pytest.mark.parametrize(
    "save",
    [
        saved("x.png", COLOUR.quantize(16)),
        saved("x.gif", COLOUR.quantize(16), transparency=3),
        saved("x.jpg", COLOUR.convert("CMYK")),
        saved("x.jpg", COLOUR.convert("YCbCr")),
        saved("x.png", COLOUR.convert("RGBA")),
        saved("x.png", COLOUR.convert("LA")),
        saved("x.png", COLOUR.convert("1")),
        saved("x.jpg", COLOUR, exif=TURNED),
        saved("x.gif", COLOUR, **FRAMES),
        saved("x.webp", COLOUR, lossless=True, **FRAMES),
    ],
    ids=["palette", "transparent", "CMYK", "YCbCr", "alpha", "grey-alpha", "bilevel", "EXIF", "animated", "webp"],
)
def test_odd_images_are_read_as_torchvision_reads_them(picture_folder: Make, save: Callable[[Path], None]) -> None:
    for split in ("train", "test"):
        root = picture_folder({"a": 2, "b": 2}, at=f"pictures/{split}", size=COLOUR.size).parent
    save(root / "train" / "b")
    wanted = default_loader(str(next((root / "train" / "b").glob("x.*"))))
    assert np.array_equal(read(root).train.images[-1], np.asarray(wanted))


@pytest.mark.parametrize(
    ("name", "kind"), [("x.png", np.uint16), ("x.tif", np.uint16), ("x.tif", np.int32), ("x.tif", np.float32)]
)
def test_images_of_more_than_8_bits_are_refused(picture_folder: Make, name: str, kind: type) -> None:
    root = picture_folder({"a": 2, "b": 2}, size=COLOUR.size)
    Image.fromarray(PIXELS[..., 0].astype(kind) * kind(3)).save(root / "a" / name)
    with pytest.raises(InputError, match=rf"a/{name} has 16 bits or more.*convert it to 8 bits"):
        read(root)


def test_an_image_of_too_many_pixels_is_one_line(picture_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = picture_folder({"a": 2, "b": 2})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # PIL refuses twice as many
    with pytest.raises(InputError, match=r"\.png cannot be read \(Image size"):
        read(root)
