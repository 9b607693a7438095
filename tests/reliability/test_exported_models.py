"""Folders of exported models that are not what ``ltbench export`` wrote, and images that are none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltbench.results.store import Store
from tests.conftest import FAST
from tests.reliability.attack import Attack, fault
from tests.reliability.test_a_hostile_folder import Evil
from tests.reliability.test_damaged_caches import alter

pytestmark = pytest.mark.slow
PREDICT = ("predict", "results/model", "results/image.png")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the model that all tests begin with."""
    return tmp_path_factory.mktemp("kept") / "model"


@pytest.fixture
def model(attack: Attack, kept: Path) -> Path:
    """An exported model of ten classes, and an image."""
    if not kept.exists():
        assert attack("run", *FAST, "--methods", "ce", "--no-tracking").status == 0
        (cell,) = Store().latest()
        assert attack("export", cell, "-o", "results/made").status == 0
        shutil.copytree("results/made", kept)
    shutil.copytree(kept, "results/model")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("results/image.png")
    assert attack(*PREDICT).status == 0
    return Path("results/model")


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the names of the classes in ``model.json``."""
    about = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps(about | {"classes": change(about["classes"])}))


@fault("Models", "model.json of a model with other classes of the same number")
def test_other_classes_of_the_same_number(attack: Attack, model: Path) -> None:
    edit(model, lambda names: [f"other {name}" for name in names])
    attack.shown(attack(*PREDICT), 2, "model.json and model.pt2 are of different models: they have other classes")


@fault("Models", "model.json with the same classes in another order")
def test_classes_in_another_order(attack: Attack, model: Path) -> None:
    edit(model, lambda names: names[::-1])
    attack.shown(attack(*PREDICT), 2, "model.json and model.pt2 are of different models: they have other classes")


@fault("Models", "model.json with twice the classes")
def test_twice_the_classes(attack: Attack, model: Path) -> None:
    edit(model, lambda names: names + [f"other {name}" for name in names])
    attack.shown(attack(*PREDICT), 2, "model.json and model.pt2 are of different models: they have other classes")


@fault("Models", "one bit of the exported program is altered")
def test_an_altered_program(attack: Attack, model: Path) -> None:
    program = model / "model.pt2"
    alter(program, program.stat().st_size // 2)
    attack.shown(attack(*PREDICT), 2, "model.pt2 was changed since it was written")


@fault("Models", "an object that would run code in place of the exported program")
def test_a_program_that_is_a_pickle(attack: Attack, model: Path) -> None:
    Path("../outside").mkdir()
    torch.save(Evil(), model / "model.pt2")
    attack.shown(attack(*PREDICT), 2, "results/model is not a folder of ltbench export")


@fault("Models", "a folder, a text or an image of 16 bits in place of an image to predict")
def test_what_is_no_image(attack: Attack, model: Path) -> None:
    Path("results/text.png").write_text("text")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("results/deep.png")
    wrong = {"": "IsADirectoryError", "text.png": "UnidentifiedImageError", "deep.png": "deep.png has 16 bits"}
    for name, says in wrong.items():
        attack.shown(attack(*PREDICT[:2], f"results/{name}"), 2, f"cannot be read ({says}")
