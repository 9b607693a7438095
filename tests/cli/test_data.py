"""Data sets on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

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
