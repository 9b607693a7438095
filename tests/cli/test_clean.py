"""``ltbench clean``: what can be made again is shown, and deleted only where it is named."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ltbench.data.home import data_folder
from ltbench.results.store import Store
from tests.conftest import FAST, Answer

Cli = Callable[..., Answer]


def occupied(ltbench: Cli) -> dict[str, int]:
    return {row["kind"]: row["files"] for row in json.loads(ltbench("clean", "--json").out)}


def test_kinds_are_shown_and_deleted_one_by_one(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder({"cat": 6, "dog": 6})
    own = ("--datasets", f"imagefolder:{folder}", "--set", "recipe.backbone=resnet8_cifar", "--methods", "ce")
    assert ltbench("run", *FAST[2:], *own).status == 0
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "cat/new.png")
    assert ltbench("data", "check", f"imagefolder:{folder}").status == 0
    for name, age in {f".{32 * 'a'}.tmp": 7200, f".{32 * 'b'}.tmp": 0, ".keep": 7200}.items():
        Path("results/records", name).touch()
        os.utime(Path("results/records", name), (time.time() - age,) * 2)
    Path("results/stages/0123456789abcdef.partial.pt").touch()
    assert occupied(ltbench) == {"stages": 1, "checkpoints": 1, "superseded": 1, "packed": 2, "temporary": 1}

    before = {file.name for file in (data_folder() / "folders").glob("*.images")}
    answer = ltbench("clean", "--delete", "superseded,temporary,checkpoints")
    assert answer.status == 0
    assert "deleted 1 files of kind superseded" in answer.err
    left = {file.name for file in (data_folder() / "folders").glob("*.images")}
    assert len(before - left) == 1
    assert occupied(ltbench) == {"stages": 1, "checkpoints": 0, "superseded": 0, "packed": 1, "temporary": 0}
    again = ltbench("data", "check", f"imagefolder:{folder}")
    assert again.status == 0
    assert {file.name for file in (data_folder() / "folders").glob("*.images")} == left


def test_the_files_of_a_stage_in_training_are_kept(ltbench: Cli) -> None:
    assert ltbench("run", *FAST, "--methods", "ce").status == 0
    (file,) = Path("results/stages").glob("*.pt")
    with Store("results").locked(f"stage-{file.stem}"):
        assert occupied(ltbench)["stages"] == 0
    assert occupied(ltbench)["stages"] == 1
    assert len(Store("results").latest()) == 1


def test_an_unknown_kind_is_one_line(ltbench: Cli) -> None:
    Path("results").mkdir()
    answer = ltbench("clean", "--delete", "stage")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("ltbench: unknown kind of files 'stage'; did you mean 'stages'?")
