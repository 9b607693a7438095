"""``ltbench export`` and ``ltbench predict``: a model that predicts what the harness measured, without the harness."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ltbench.results.store import Store
from tests.conftest import FAST, MINE, Answer, records

Cli = Callable[..., Answer]
ALONE = """
import importlib.machinery, runpy, sys
class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        missing = name.partition(".")[0] in ("ltbench", "timm", "pandas")
        return None if missing else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Bare
runpy.run_path("elsewhere/predict.py", run_name="__main__")
"""
"""Runs the exported script where nothing of ltbench is installed."""


def pictures(folder: Path, train: dict[str, int], size: int = 12) -> Path:
    """A folder with train, val and test images, each class of its own brightness."""
    generator = np.random.default_rng(0)
    for split, counts in {"train": train, "val": dict.fromkeys(train, 6), "test": dict.fromkeys(train, 8)}.items():
        for c, (name, n) in enumerate(counts.items()):
            (folder / split / name).mkdir(parents=True)
            for i in range(n):
                image = generator.integers(70 * c, 70 * c + 90, size=(size, size, 3), dtype=np.uint8)
                Image.fromarray(image).save(folder / split / name / f"{i:02}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos", {"cat": 30, "dog": 12, "eel": 5})


def trained(ltbench: Cli, photos: Path, *words: str) -> Answer:
    changes = ("--set", "recipe.epochs=3", "--set", "recipe.backbone=resnet8_cifar", "--set", "recipe.batch_size=8")
    answer = ltbench("run", "--datasets", f"imagefolder:{photos}", "--workers", "1", *changes, *words)
    assert answer.status == 0, answer.err
    return answer


@pytest.mark.parametrize("method", ["ldam_drw", pytest.param("ride", marks=pytest.mark.slow)])
def test_the_exported_program_predicts_what_was_measured_without_ltbench(
    ltbench: Cli, photos: Path, method: str
) -> None:
    trained(ltbench, photos, "--methods", method, "--seeds", "1")
    (record,) = Store("results").latest().values()
    answer = ltbench("export", record.id[:8], "-o", "model")
    assert answer.status == 0, answer.err
    assert "it predicts the class of the record for 24 of 24 images" in answer.out
    images = sorted((photos / "test").rglob("*.png"))
    found = json.loads(ltbench("predict", "model", *map(str, images), "--json").out)
    stored = Store("results").arrays(record)
    names = record.finished.classes
    assert [row["class"] for row in found] == [names[k] for k in stored["predicted"]]
    expected = np.take_along_axis(
        np.log([list(row["probabilities"].values()) for row in found]), stored["labels"][:, None], 1
    )
    assert np.allclose(-expected[:, 0], stored["nll"], atol=1e-4)

    shutil.move("model", "elsewhere")
    words = [sys.executable, "-c", ALONE, *map(str, images[:3])]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == [row["class"] for row in found[:3]]


@pytest.mark.parametrize("recipe", ["frozen", "finetune"])
def test_a_pretrained_model_is_exported_with_its_preprocessing(
    ltbench: Cli, photos: Path, tmp_path: Path, recipe: str
) -> None:
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    values = {
        "backbone": "test_resnet",
        "pretrained": tmp_path / "w.safetensors",
        "epochs": 2,
        "interpolation": "bicubic",
    }
    settings = [word for name, value in values.items() for word in ("--set", f"recipe.{name}={value}")]
    words = ("--datasets", f"imagefolder:{photos}", "--workers", "1", "--methods", "crt", "--seeds", "1")
    answer = ltbench("run", "--recipe", recipe, *words, *settings)
    assert answer.status == 0, answer.err
    (record,) = Store("results").latest().values()
    answer = ltbench("export", record.id, "-o", "model")
    assert "it predicts the class of the record for 24 of 24 images" in answer.out, answer.err
    about = json.loads(Path("model/model.json").read_text())
    assert about["interpolation"] == "bicubic"
    card = Path("model/README.md").read_text()
    parameters = sum(p.numel() for p in timm.create_model("test_resnet", num_classes=3).parameters())
    assert f"| parameters | {parameters:,} |" in card
    assert "| pretrained | test_resnet.r160_in1k (ImageNet-1k) sha256:" in card
    images = sorted((photos / "test").rglob("*.png"))
    found = json.loads(ltbench("predict", "model", *map(str, images), "--json").out)
    stored = Store("results").arrays(record)
    assert [row["class"] for row in found] == [record.finished.classes[k] for k in stored["predicted"]]
    weights = {name: value for name, value in load_file("model/model.safetensors").items() if "backbone." in name}
    fitting = timm.create_model("test_resnet", num_classes=0).state_dict().keys()
    assert {name.removeprefix("backbone.") for name in weights} >= {n for n in fitting if "num_batches" not in n}


def test_the_program_is_written_as_onnx_too(ltbench: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(ltbench, photos, "--methods", "balanced_softmax", "--seeds", "1")
    (record,) = Store("results").latest().values()
    answer = ltbench("export", record.id, "-o", "model", "--onnx")
    assert answer.status == 0, answer.err
    images = np.stack([np.asarray(Image.open(file)) for file in sorted((photos / "test").rglob("*.png"))])
    session = onnxruntime.InferenceSession("model/model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    assert np.allclose(logits, Store("results").arrays(record)["logits"].astype(np.float32), rtol=1e-3, atol=1e-3)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = ltbench("export", record.id, "-o", "other", "--onnx")
    assert (answer.status, answer.err[:50]) == (2, "ltbench: ONNX needs the packages onnx and onnxscri")


def test_the_card_has_the_row_of_the_table_and_the_recall_of_each_class(ltbench: Cli, photos: Path) -> None:
    trained(ltbench, photos, "--methods", "ce", "--seeds", "2")
    record = min(Store("results").latest().values(), key=lambda record: record.seed)
    assert ltbench("export", record.id, "-o", "model").status == 0
    card = Path("model/README.md").read_text()
    assert "over 2 seeds" in card
    assert f"{record.finished.last.balanced_accuracy:.1f} % (this model)" in card
    assert f"| eel | 5 | 8 | {100 * record.finished.hits[2] / 8:.1f} % |" in card
    assert record.command in card


def test_a_run_on_own_images_ends_with_a_recommendation_that_best_exports(ltbench: Cli, photos: Path) -> None:
    answer = trained(ltbench, photos, "--methods", "ce,balanced_softmax", "--seeds", "2")
    assert "by its validation images: " in answer.out
    method = answer.out.partition("by its validation images: ")[2].partition(". On test")[0]
    command = answer.out.rstrip().rpartition("Next: ltbench ")[2]
    assert ltbench(*command.split()).status == 0
    assert json.loads(Path("model/model.json").read_text())["method"] == method
    assert ltbench("export", "--best", "-o", "again").status == 0
    assert Path("again/model.json").read_text() == Path("model/model.json").read_text()


def test_one_seed_recommends_nothing(ltbench: Cli, photos: Path) -> None:
    answer = trained(ltbench, photos, "--methods", "ce,balanced_softmax", "--seeds", "1")
    assert "one seed cannot tell methods apart; give more with --seeds 3" in answer.out
    answer = ltbench("export", "--best", "-o", "model")
    assert (answer.status, answer.err) == (
        2,
        "ltbench: no method is recommended: one seed cannot tell methods apart; give more with --seeds 3\n",
    )


def test_a_model_of_edited_code_is_not_exported(ltbench: Cli) -> None:
    Path("methods").mkdir()
    words = ("run", *FAST, "--methods", "mine")
    Path("methods/mine.py").write_text(MINE)
    assert ltbench(*words).status == 0
    (record,) = records().values()
    Path("methods/mine.py").write_text(MINE.replace("Range(2.0", "Range(3.0"))
    says = f"ltbench: cell {record.id} is stale: its code was edited since (mine.Mine); undo the edit, or train the new"
    alone = ltbench("export", record.id)
    assert alone.err.startswith(f"{says} code: ltbench run --suite quickstart")
    assert "its only result is stale" in ltbench("export", "--best").err
    assert ltbench(*words).status == 0  # the newer cell takes its place in the table
    assert ltbench("export", record.id) == alone


def test_wrong_words_are_one_line_each(ltbench: Cli, photos: Path) -> None:
    assert ltbench("run", *FAST, "--methods", "ce").status == 0
    (cell,) = Store("results").latest()
    Path("full").mkdir()
    Path("full/note").touch()
    Path("broken.png").write_bytes(b"no image")
    assert ltbench("export", cell, "-o", "model").status == 0
    wrong = {
        ("export",): "name one model: the id of a cell (see ltbench status --json), or --best",
        ("export", "zz"): "no finished cell begins with 'zz' in results",
        ("export", cell, "-o", "full"): "full exists and is not an empty folder",
        ("export", "--best"): "no method is recommended: only one method was trained",
        ("predict", "full", "broken.png"): "full is not a folder of ltbench export",
        ("predict", "model", "broken.png"): "image broken.png cannot be read (UnidentifiedImageError)",
        ("predict", "model", "missing.png"): "image missing.png cannot be read (FileNotFoundError)",
    }
    for words, line in wrong.items():
        answer = ltbench(*words)
        assert answer.status == 2
        assert answer.err.startswith(f"ltbench: {line}")
        assert answer.err.count("\n") == 1
    for file in Path("results/stages").iterdir():
        file.unlink()
    answer = ltbench("export", cell, "-o", "other")
    assert answer.err.startswith(
        f"ltbench: the network of cell {cell} is not in results/stages; train it again: "
        f"rm results/records/{cell}-*.json && ltbench run"
    )
    assert not Path("other").exists()
