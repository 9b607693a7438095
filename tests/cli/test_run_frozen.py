"""Runs on the features of a frozen backbone, on the command line."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torchvision.transforms.functional import center_crop

from ltbench.data.features import find
from ltbench.data.home import data_folder
from ltbench.data.sources import load
from ltbench.engine import frozen
from ltbench.engine.process import device_of
from ltbench.method.registry import discover
from tests.conftest import Answer, numbers, records

NEED_PIXELS = {
    "aux_combined",
    "aux_rotation",
    "bcl",
    "cmo",
    "cmo_balanced_softmax",
    "cmo_ldam_drw",
    "cuda_augmentation",
}
NEED_PIXELS |= {"glmc", "gpaco", "lift", "m2m", "mdcs", "paco", "proco", "reslt", "shike"}
Run = Callable[..., Answer]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture
def words(picture_folder: Callable[..., Path], weights: Path) -> list[str]:
    """A run on the features of a small image folder."""
    Path("frozen.toml").write_text('datasets = ["digits"]\nrecipe = "frozen"\nseeds = 2\nbaseline_seeds = 0\n')
    folder = picture_folder({"ant": 30, "bee": 12, "cat": 8})
    values = {"backbone": "test_resnet", "pretrained": weights, "epochs": 2, "batch_size": 16}
    settings = [word for name, value in values.items() for word in ("--set", f"recipe.{name}={value}")]
    return ["run", "--suite", "frozen.toml", "--datasets", f"imagefolder:{folder}", "--workers", "1", *settings]


def feature_files() -> list[Path]:
    return sorted((data_folder() / "features").glob("*.features"))


def test_every_method_that_needs_no_pixels_is_trained_and_the_others_are_named(ltbench: Run, words: list[str]) -> None:
    answer = ltbench(*words, "--methods", "all", "--seeds", "1")
    assert answer.status == 0, answer.err
    assert {record.method for record in records().values() if record.result} == set(discover()) - NEED_PIXELS
    for name in NEED_PIXELS:
        assert f"skipped: {name} " in answer.err
    assert {record.recipe for record in records().values()} == {"frozen[epochs=2,batch_size=16]"}
    assert "weights test_resnet.r160_in1k#" in answer.err
    assert "pretrained on ImageNet-1k" in answer.err
    assert answer.err.count("computing the others") == 1
    assert len(feature_files()) == 1


def test_methods_that_all_need_pixels_are_an_error(ltbench: Run, words: list[str]) -> None:
    answer = ltbench(*words, "--methods", "bcl")
    assert answer.status == 2
    assert answer.err.startswith("ltbench: no method is left: bcl needs two views of each image")


def test_the_features_are_those_of_the_backbone_on_the_images_it_expects(ltbench: Run, words: list[str]) -> None:
    assert ltbench(*words, "--methods", "ce", "--seeds", "1").status == 0
    (path,) = feature_files()
    file = find(path, path.stem)
    assert file is not None
    config = timm.get_pretrained_cfg("test_resnet")
    images = load(words[words.index("--datasets") + 1], 67, interpolation=config.interpolation)
    model = timm.create_model("test_resnet", num_classes=0).eval()
    weights = next(word for word in words if "pretrained" in word).partition("=")[2]
    model.load_state_dict(load_file(weights), strict=False)
    for name in ("train", "test"):
        found, split = file.split(name), getattr(images, name)
        assert found is not None
        assert np.array_equal(found.labels, split.labels)
        pixels = center_crop(torch.tensor(split.pixels()).permute(0, 3, 1, 2), [64, 64]) / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
        with torch.inference_mode():
            expected = model((pixels - mean) / std)
        assert torch.allclose(torch.from_numpy(np.array(found.images)).flatten(1), expected, atol=1e-4)


def test_a_second_run_computes_nothing_and_repeats_its_numbers(
    ltbench: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ltbench(*words, "--methods", "ce,tau_norm").status == 0
    monkeypatch.setattr(frozen, "_computed", None)
    assert ltbench(*words, "--methods", "ce,tau_norm", "--results", "again").status == 0
    first, again = records(), records("again")
    assert first.keys() == again.keys()
    assert all(numbers(first[cell]) == numbers(again[cell]) for cell in first)


def test_a_changed_feature_file_is_computed_again(ltbench: Run, words: list[str]) -> None:
    assert ltbench(*words, "--methods", "ce", "--seeds", "1").status == 0
    (path,) = feature_files()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    answer = ltbench(*words, "--methods", "focal", "--seeds", "1")
    assert answer.status == 0
    assert "was changed since it was written; computing it again" in answer.err
    assert path.read_bytes() == content


CHILD = """
import os, signal, sys, time
from ltbench.engine import frozen
ORIGINAL = frozen.Writer.append

def append(writer, features):
    ORIGINAL(writer, features)
    if writer.done >= 48:
        os.kill(os.getpid(), signal.SIGKILL)

frozen.Writer.append, frozen.BLOCK = append, 16
sys.argv = ["ltbench", *sys.argv[1:]]
from ltbench.cli import main
main()
"""


def test_a_kill_loses_no_more_than_a_block(ltbench: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*words, "--methods", "ce", "--seeds", "1"]
    assert subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True).returncode == -signal.SIGKILL
    assert feature_files() == []
    monkeypatch.setattr(frozen, "BLOCK", 16)
    answer = ltbench(*words)
    assert answer.status == 0, answer.err
    assert "48 of 50 images are there" in answer.err
    (path,) = feature_files()
    resumed = path.read_bytes()
    path.unlink()
    assert ltbench(*words, "--results", "other").status == 0
    assert path.read_bytes() == resumed


def test_the_number_of_threads_changes_no_bit(tmp_path: Path, weights: Path) -> None:
    from ltbench.plan.recipe import RECIPES

    recipe = RECIPES["frozen"].changed({"backbone": "test_resnet", "pretrained": str(weights)}).fitted(lambda: 8)
    images = load("digits", recipe.image_size)
    few = replace(images, train=images.train.take(np.arange(200)))
    files = [
        frozen.compute(few, None, recipe, tmp_path / str(n), "key", device_of("cpu"), n, lambda line: None)
        for n in (1, 3)
    ]
    assert files[0].header.digest == files[1].header.digest
