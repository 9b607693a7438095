"""The large data sets: their layouts, and the counts that they must have."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ltbench.data import Imbalance, class_counts, cut, large, load
from ltbench.data.files import Collection, File
from ltbench.data.large import LARGE, Counts, Large, check_counts, instructions
from ltbench.errors import InputError
from tests.data.test_listed import as_inaturalist, as_list

Make = Callable[..., Path]
COUNTS = Counts(3, 6, 3, {"train": 13, "val": 6, "test": 7})
"""Of the folder that the fixture ``photos`` makes."""


@pytest.fixture
def photos(picture_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in three splits, with the counts ``COUNTS``."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data-home"))
    sizes = {"train": (6, 4, 3), "val": (2, 2, 2), "test": (3, 2, 2)}
    for split, n in sizes.items():
        root = picture_folder(dict(zip(("cat", "dog", "emu"), n, strict=True)), at=f"photos/{split}").parent
    return root


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Counts], None]:
    """Replace the published counts of a data set by made-up ones."""

    def replace_counts(name: str, counts: Counts) -> None:
        monkeypatch.setitem(LARGE, name, replace(LARGE[name], counts=counts))

    return replace_counts


def collection(counts: Mapping[str, list[int]]) -> Collection:
    """Files that exist nowhere: images of each class, by split."""
    classes = tuple(map(str, range(len(counts["train"]))))
    splits = {
        split: [File(Path(f"{split}/{label}/{i}"), label) for label, n in enumerate(sizes) for i in range(n)]
        for split, sizes in counts.items()
    }
    return Collection(Path("list.txt"), Path(), classes, splits, {split: split for split in splits})


RIGHT = {"train": [6, 4, 3], "val": [2, 2, 2], "test": [3, 2, 2]}
WRONG: dict[str, tuple[dict[str, list[int]], str]] = {
    "classes": (RIGHT | {"train": [6, 4, 2, 1]}, "list.txt has 4 classes, but made-up has 3; "),
    "train": (RIGHT | {"train": [6, 4, 4]}, "list.txt has 14 train images, but made-up has 13; "),
    "val": (RIGHT | {"val": [2, 2, 1]}, "list.txt has 5 val images, but made-up has 6; "),
    "no val": ({"train": [6, 4, 3], "test": [3, 2, 2]}, "list.txt has 0 val images, but made-up has 6; "),
    "test": (RIGHT | {"test": [3, 3, 2]}, "list.txt has 8 test images, but made-up has 7; "),
    "largest": (RIGHT | {"train": [5, 5, 3]}, "list.txt has 5 images in the largest class, but made-up has 6; "),
    "smallest": (RIGHT | {"train": [6, 5, 2]}, "list.txt has 2 images in the smallest class, but made-up has 3; "),
}


def test_the_published_counts_pass() -> None:
    check_counts("made-up", collection(RIGHT), COUNTS)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_count_is_named(case: str) -> None:
    counts, message = WRONG[case]
    with pytest.raises(InputError, match="give a subset another name: --datasets") as error:
        check_counts("made-up", collection(counts), COUNTS)
    assert str(error.value).startswith(message)


def test_validation_images_count_as_test_images_where_there_are_no_others() -> None:
    check_counts("made-up", collection({"train": [6, 4], "val": [1, 1]}), Counts(2, 6, 4, {"train": 10, "test": 2}))


def test_the_published_numbers() -> None:
    """Images, classes and class sizes of the lists of ImageNet-LT, Places-LT and iNaturalist 2018."""
    expected = {
        "imagenet-lt": Counts(1000, 1280, 5, {"train": 115_846, "val": 20 * 1000, "test": 50 * 1000}),
        "places-lt": Counts(365, 4980, 5, {"train": 62_500, "val": 20 * 365, "test": 100 * 365}),
        "inaturalist2018": Counts(8142, 1000, 2, {"train": 437_513, "test": 3 * 8142}),
        "tiny-imagenet": Counts(200, 500, 500, {"train": 500 * 200, "test": 50 * 200}),
    }
    assert {name: of.counts for name, of in LARGE.items()} == expected


def test_the_cuts_of_tiny_imagenet_have_the_counts_of_the_formula() -> None:
    for factor, smallest, total in ((100, 5, 21_549), (10, 50, 39_072)):
        counts = class_counts([500] * 200, Imbalance("exp", factor))
        assert counts == [int(500 * factor ** (-i / 199)) for i in range(200)]
        assert (counts[0], counts[-1], sum(counts)) == (500, smallest, total)


@pytest.mark.parametrize("name", ["imagenet-lt", "places-lt"])
def test_lists_with_the_published_counts_are_that_data_set(
    name: str, photos: Path, tmp_path: Path, publish: Callable[[str, Counts], None]
) -> None:
    places = {name: as_list(photos, tmp_path / "lists")}
    with pytest.raises(InputError, match=f"has 3 classes, but {name} has {LARGE[name].counts.classes:,}; "):
        load(name, where=places)
    publish(name, COUNTS)
    images = load(name, where=places)
    assert (images.name, images.train.counts(3)) == (name, [6, 4, 3])
    assert images.fingerprint == load(name, where={name: f"imagefolder:{photos}"}).fingerprint


def test_inaturalist_is_read_from_its_json(
    photos: Path, tmp_path: Path, publish: Callable[[str, Counts], None]
) -> None:
    publish("inaturalist2018", Counts(3, 6, 3, {"train": 13, "test": 7}))
    images = load("inaturalist2018", where={"inaturalist2018": as_inaturalist(photos, tmp_path / "lists")})
    assert (images.name, len(images.test)) == ("inaturalist2018", 7)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Callable[[str, Counts], None]) -> Path:
    """Tiny ImageNet's folder in the layout of its archive, with two classes of three images."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data-home"))
    publish("tiny-imagenet", Counts(2, 3, 3, {"train": 6, "test": 4}))
    root = tmp_path / "data-home" / "tiny-imagenet-200"
    for name, colour in (("n02", "red"), ("n01", "blue")):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        (folder.parent / f"{name}_boxes.txt").write_text("a.JPEG\t0\t0\t9\t9\n")
        for i in range(3):
            Image.new("RGB", (8, 8), colour).save(folder / f"{name}_{i}.JPEG")
    (root / "val" / "images").mkdir(parents=True)
    rows = [("val_0.JPEG", "n02"), ("val_1.JPEG", "n01"), ("val_2.JPEG", "n01"), ("val_3.JPEG", "n02")]
    for image, name in rows:
        Image.new("RGB", (8, 8), {"n02": "red", "n01": "blue"}[name]).save(root / "val" / "images" / image)
    lines = [f"{image}\t{name}\t0\t32\t44\t62\n" for image, name in rows]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_is_read_from_its_official_folder(tiny: Path) -> None:
    images = load("tiny-imagenet")
    assert images.classes == ("n01", "n02")
    assert (images.train.counts(2), images.test.counts(2), images.val) == ([3, 3], [2, 2], None)
    for split in (images.train, images.test):
        blue = split.pixels().mean(axis=(1, 2))[:, 2] > 128
        assert (blue == (split.labels == 0)).all()
    for place in (tiny, tiny.parent):
        assert load("tiny-imagenet", where={"tiny-imagenet": str(place)}).fingerprint == images.fingerprint
    assert cut(images, Imbalance("exp", 3)).train.counts(2) == [3, 1]


def test_an_incomplete_tiny_imagenet_is_an_error(tiny: Path) -> None:
    (tiny / "train" / "n01" / "images" / "n01_0.JPEG").unlink()
    with pytest.raises(InputError, match=r"has 5 train images, but tiny-imagenet has 6; "):
        load("tiny-imagenet")
    annotations = tiny / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn03\n")
    with pytest.raises(InputError, match=r"val_annotations.txt, line 1: class 'n03' has no folder in"):
        load("tiny-imagenet")
    annotations.unlink()
    with pytest.raises(InputError, match="val_annotations.txt is missing; give the folder tiny-imagenet-200"):
        load("tiny-imagenet")


@pytest.mark.parametrize("name", LARGE)
def test_a_data_set_that_is_not_there_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    with pytest.raises(large.Missing, match=f"add --data {name}=") as error:
        load(name)
    assert "\n" not in str(error.value)
    text = instructions(name)
    of: Large = LARGE[name]
    assert all(file in text for file in of.files)
    assert of.place in text
    packed = {"imagenet-lt": 36.5, "places-lt": 20.9, "inaturalist2018": 90.8, "tiny-imagenet": 1.4}
    assert f"free        {packed[name]} GB in the data folder" in text
    assert text.endswith(" --image-size 256" if name != "tiny-imagenet" else "=tiny-imagenet-200")
