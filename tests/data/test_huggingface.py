"""Data sets of the Hugging Face hub and in its formats, from folders on disk."""

from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from ltbench.data.huggingface import collected
from ltbench.errors import InputError
from tests.conftest import Answer, records

CLASSES = ["cat", "dog"]


def a_set(rows: int = 6) -> datasets.Dataset:
    pictures = [Image.fromarray(np.full((4, 4, 3), 40 * i, np.uint8)) for i in range(rows)]
    features = datasets.Features({"picture": datasets.Image(), "animal": datasets.ClassLabel(names=CLASSES)})
    return datasets.Dataset.from_dict({"picture": pictures, "animal": [i % 2 for i in range(rows)]}, features)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    splits = {"train": a_set(6), "validation": a_set(2), "test": a_set(4), "extra": a_set(2)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "animals"))
    return tmp_path / "animals"


def test_a_folder_of_save_to_disk_is_read_with_its_splits_and_classes(folder: Path, tmp_path: Path) -> None:
    found = collected(str(folder), tmp_path)
    assert found.classes == ("cat", "dog")
    assert {split: [file.label for file in files] for split, files in found.splits.items()} == {
        "train": [0, 1, 0, 1, 0, 1],
        "val": [0, 1],
        "test": [0, 1, 0, 1],
    }
    with Image.open(found.splits["train"][2].path) as picture:
        assert np.asarray(picture).max() == 80
    again = collected(str(folder), tmp_path)
    assert again.splits == found.splits


def test_a_folder_of_images_is_read_without_copies(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / "photos/train" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos/train" / name / "1.png")
    found = collected(str(tmp_path / "photos"), tmp_path / "cache")
    assert [file.path.name for file in found.splits["train"]] == ["1.png", "1.png"]
    assert not (tmp_path / "cache").exists()


def test_wrong_input_is_one_line_each(folder: Path, tmp_path: Path) -> None:
    two = a_set().add_column("other", list(range(6)))
    two = two.cast_column("other", datasets.ClassLabel(num_classes=6))
    datasets.DatasetDict({"train": two}).save_to_disk(str(tmp_path / "two"))
    datasets.DatasetDict({"test": a_set()}).save_to_disk(str(tmp_path / "untrained"))
    datasets.DatasetDict({"train": a_set().select_columns(["animal"])}).save_to_disk(str(tmp_path / "blind"))
    wrong = {
        f"{folder},colour=red": "unknown option of hf: 'colour'",
        f"{folder},label=picture": f"unknown label column of hf:{folder} 'picture'",
        str(tmp_path / "two"): "has 2 columns of ClassLabel (animal, other); choose one with ,label=COLUMN",
        str(tmp_path / "untrained"): "has no split 'train'",
        str(tmp_path / "blind"): "has 0 columns of Image; it needs one",
        str(tmp_path / "missing/animals"): "cannot be loaded (",
    }
    for text, line in wrong.items():
        with pytest.raises(InputError) as error:
            collected(text, tmp_path)
        assert line in str(error.value)
        assert "\n" not in str(error.value)
    assert collected(f"{tmp_path / 'two'},label=other", tmp_path).classes == tuple("012345")


def test_a_run_names_it_like_other_data_of_ones_own(ltbench: Callable[..., Answer], folder: Path) -> None:
    settings = ("--set", "recipe.epochs=1", "--set", "recipe.backbone=resnet8_cifar", "--workers", "1")
    answer = ltbench("run", "--datasets", f"hf:{folder},label=animal", "--methods", "ce", "--seeds", "1", *settings)
    assert answer.status == 0, answer.err
    (record,) = records().values()
    assert (record.dataset, record.imbalance) == ("hf:animals", "natural")
    assert record.finished.classes == ("cat", "dog")
