"""Data sets on the command line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltbench.data.precision import half_width, precision
from ltbench.results.statistics import image_error
from ltbench.results.store import Store
from tests.conftest import Answer, numbers, records

Cli = Callable[..., Answer]


def test_data_check(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    facts = json.loads(ltbench("data", "check", "digits", "--json").out)
    assert (facts["classes"], facts["train"], facts["test"]) == (10, 1200, 597)
    folder = picture_folder({"cat": 10, "dog": 6})
    answer = ltbench("data", "check", f"imagefolder:{folder}")
    assert answer.status == 0
    assert "5 to 8" in answer.out
    (folder / "cat" / "000.png").write_bytes(b"")
    answer = ltbench("data", "check", f"imagefolder:{folder}")
    assert answer.status == 2
    assert "000.png cannot be read" in answer.err


def test_data_check_says_what_to_download_for_a_large_data_set(
    ltbench: Cli, picture_folder: Callable[..., Path]
) -> None:
    answer = ltbench("data", "check", "places-lt")
    assert answer.status == 2
    assert "download    places365standard_easyformat.tar (24 GB; 256x256 images) from places2" in answer.out
    assert "then run    ltbench data check places-lt --data places-lt=list:Places_LT_train.txt," in answer.out
    assert answer.err.count("\n") == 1
    assert "--data places-lt=imagefolder:PATH" in answer.err
    assert ltbench("data", "check", "places-lt", "--json").out == ""
    folder = picture_folder({"cat": 10, "dog": 6})
    answer = ltbench("data", "check", "places-lt", "--data", f"places-lt=imagefolder:{folder}")
    assert (answer.status, answer.out) == (2, "")
    assert "pictures has 2 classes, but places-lt has 365; " in answer.err


def test_data_prepare_decodes_a_folder(ltbench: Cli, picture_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = picture_folder({"cat": 10, "dog": 6})
    answer = ltbench("data", "prepare", f"imagefolder:{folder}", "--image-size", "4")
    assert (answer.status, answer.err) == (0, "")
    assert "16 images" in answer.out
    assert str(tmp_path / "data-home") in answer.out
    assert len(list((tmp_path / "data-home" / "folders").glob("*.images"))) == 1


def test_a_folder_runs_with_resized_crops_from_its_file(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder({"cat": 12, "dog": 10}, size=(20, 16))
    crops = ("--set", "recipe.image_size=16", "--set", "recipe.resized_crop=12", "--set", "recipe.crop_padding=0")
    where = ("--datasets", f"imagefolder:{folder}", "--imbalance", "natural", "--seeds", "1", "--methods", "ce")
    found = {}
    for place in ("file", "auto"):
        options = ("--set", "recipe.epochs=1", "--results", place, "--images-in", place, "--threads", "1")
        answer = ltbench("run", *where, *crops, *options)
        assert answer.status == 0, answer.err
        (found[place],) = Store(place).latest().values()
    assert [found[place].finished.images_in for place in found] == ["file", "device"]
    assert numbers(found["file"]) == numbers(found["auto"])
    assert "images in" in ltbench("show", found["file"].id, "--results", "file").out


def test_any_image_folder_runs(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder({"cat": 30, "dog": 20, "emu": 10}, mode="L", size=(12, 9))
    common = ("--seeds", "1", "--methods", "ce", "--set", "recipe.epochs=1")
    answer = ltbench("run", "--datasets", f"imagefolder:{folder}", "--imbalance", "natural", *common)
    assert answer.status == 0
    (record,) = records().values()
    assert record.finished.class_counts == (24, 16, 8)
    assert record.finished.classes == ("cat", "dog", "emu")
    answer = ltbench(
        "run", "--datasets", "cifar10", "--data", f"cifar10=imagefolder:{folder}", "--imbalance", "2", *common
    )
    assert answer.status == 0
    assert "cifar10 (imagefolder)" in answer.out


def test_data_check_says_where_test_images_come_from_and_what_they_allow(
    ltbench: Cli, picture_folder: Callable[..., Path]
) -> None:
    for split, cats in (("train", 12), ("val", 10)):
        folder = picture_folder({"cat": cats, "dog": 6}, at=f"pictures/{split}").parent
    answer = ltbench("data", "check", f"imagefolder:{folder}")
    assert (answer.status, answer.err) == (0, "")
    assert f"{folder / 'val'} (there is no test split" in answer.out
    assert "6 to 12" in answer.out and "6 to 10" in answer.out
    wanted = 1.96 * 100 * (0.25 / 10 + 0.25 / 6) ** 0.5 / 2
    assert f"balanced accuracy ± {wanted:.1f} points (95 %, one run, at recalls of 50 %), few: " in answer.out
    facts = json.loads(ltbench("data", "check", f"imagefolder:{folder}", "--json").out)
    assert (facts["imbalance factor"], facts["interval"]) == (2, round(wanted, 2))
    assert "chosen by ltbench with a fixed seed" in ltbench("data", "check", "digits").out


def test_the_expected_interval_is_that_of_the_statistics() -> None:
    totals = np.array([30, 100, 400, 20, 70])
    errors = image_error(np.random.default_rng(0).binomial(totals, 0.5, size=(20_000, 5)), totals)
    assert half_width(totals.tolist()) == pytest.approx(1.96 * np.sqrt(np.mean(errors**2)), rel=0.01)
    assert "enough to compare methods" in precision([1000] * 10)


def test_a_list_runs_and_says_where_its_test_images_come_from(
    ltbench: Cli, picture_folder: Callable[..., Path]
) -> None:
    folder = picture_folder({"cat": 12, "dog": 10})
    for split in ("train", "test"):
        rows = [f"{c}/{n:03}.png {c}\n" for c in ("cat", "dog") for n in range(10) if (n < 6) == (split == "train")]
        Path(f"{split}.txt").write_text("".join(rows[: -2 if split == "train" else None]))
    spec = f"list:train.txt,test=test.txt,root={folder}"
    options = ("--methods", "ce", "--seeds", "1", "--set", "recipe.epochs=1")
    answer = ltbench("run", "--datasets", spec, *options)
    assert answer.status == 0, answer.err
    assert "list:train.txt from train.txt: 2 classes, 10 train, 8 test images, imbalance factor 1.5; " in answer.err
    assert "test images: test.txt; balanced accuracy ± " in answer.err
    assert "imbalance natural (the default for images of your own)" in answer.err
    (record,) = records().values()
    assert record.finished.class_counts == (6, 4)
    again = ltbench(*shlex.split(record.command)[1:])
    assert "1 cells under recipe ldam[epochs=1], 1 done, 0 to do, recipe ldam (the default" in again.err
    assert "imbalance natural (" not in again.err
    assert ltbench("verify").status == 0


def test_natural_is_the_default_only_for_images_of_ones_own(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    own = f"imagefolder:{picture_folder({'cat': 160, 'dog': 150})}"
    found = {}
    for names in (own, f"digits,{own}", "digits"):
        options = ("--dry-run", "--json", "--methods", "ce", "--seeds", "1", "--set", "recipe.image_size=8")
        answer = ltbench("run", "--datasets", names, *options)
        assert answer.status == 0, answer.err
        found[names] = {cell["imbalance"] for cell in json.loads(answer.out)}
    assert found[own] == {"natural"}
    assert found["digits"] == found[f"digits,{own}"]
    assert "natural" not in found["digits"]


WRONG = {
    "no such list": ("list:nowhere.txt", "nowhere.txt does not exist"),
    "unknown option": ("list:train.txt,tset=x", "unknown option of list: 'tset'"),
    "no column": ("csv:train.csv,path=file", "unknown column of train.csv 'file'"),
    "missing image": ("csv:train.csv", "train.csv, line 2: image a.png does not exist"),
    "not parquet": ("parquet:train.csv", "train.csv cannot be read"),
    "not JSON": ("inaturalist:train.csv", "train.csv is not iNaturalist's JSON"),
    "unknown kind": ("lists:train.txt", "unknown data set 'lists:train.txt'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_is_one_line(ltbench: Cli, case: str) -> None:
    Path("train.csv").write_text("path,label\na.png,0\nb.png,0\nc.png,1\nd.png,1\n")
    name, message = WRONG[case]
    for command in (("data", "check", name), ("run", "--datasets", name)):
        answer = ltbench(*command)
        assert (answer.status, answer.out) == (2, "")
        (line,) = answer.err.splitlines()
        assert line.startswith("ltbench: ") and message in line
