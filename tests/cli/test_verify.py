"""``ltbench verify``: every number follows from what is stored, and each kind of damage is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltbench.results.record import Record
from ltbench.results.store import Store
from tests.conftest import FAST, MINE, Answer

Cli = Callable[..., Answer]


@pytest.fixture
def store(ltbench: Cli) -> Store:
    """One seed of ce and of a method of the user."""
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    assert ltbench("run", *FAST, "--methods", "ce,mine").status == 0
    return Store("results")


def record_of(store: Store, method: str) -> Record:
    return next(record for record in store.latest().values() if record.method == method)


def replaced(store: Store, record: Record, **result: Any) -> None:
    """Put a record with another result in the place of this one, as someone would who knows the format."""
    (path,) = (store.root / "records").glob(f"{record.id}-*.json")
    path.write_bytes(record.model_copy(update={"result": record.finished.model_copy(update=result)}).write())


def test_what_was_just_trained_agrees(ltbench: Cli, store: Store) -> None:
    answer = ltbench("verify")
    assert (answer.status, answer.out) == (0, "2 finished cells: 2 agree, 0 do not\n")


def test_trained_again_every_bit_is_equal(ltbench: Cli, store: Store) -> None:
    answer = ltbench("verify", "--retrain", record_of(store, "ce").id[:6])
    assert answer.status == 0, answer.out
    assert answer.out == "1 finished cells: 1 agree, 0 do not, 1 trained again with equal bits\n"


@pytest.mark.slow
def test_a_record_that_training_does_not_repeat_is_found(ltbench: Cli, store: Store) -> None:
    ce = record_of(store, "ce")
    (losses,) = ce.finished.losses
    replaced(store, ce, losses=(losses.model_copy(update={"loss": (1.0, *losses.loss[1:])}),))
    answer = ltbench("verify", "--retrain", ce.id)
    assert answer.status == 1
    assert f"{ce.id}: training again gave other losses\n" in answer.out


def test_another_environment_is_not_checkable_here(ltbench: Cli, store: Store) -> None:
    ce = record_of(store, "ce")
    environment = ce.finished.environment.model_copy(update={"torch": "1.0"})
    replaced(store, ce, environment=environment)
    answer = ltbench("verify", "--retrain", ce.id)
    assert answer.status == 0
    assert f"{ce.id}: not trained again here: it was trained on " in answer.out
    assert "0 trained again" in answer.out


def test_a_changed_metric_is_found(ltbench: Cli, store: Store) -> None:
    ce = record_of(store, "ce")
    last = ce.finished.last.model_copy(update={"ece": ce.finished.last.ece + 1e-9})
    replaced(store, ce, protocols={"last": last})
    answer = ltbench("verify")
    assert answer.status == 1
    assert f"{ce.id}: metrics differ from those of the predictions: ece\n" in answer.out
    assert "2 finished cells: 1 agree, 1 do not\n" in answer.out


def test_a_record_that_was_edited_by_hand_is_found_by_every_command(ltbench: Cli, store: Store) -> None:
    (path,) = (store.root / "records").glob(f"{record_of(store, 'ce').id}-*.json")
    path.write_text(path.read_text().replace('"seed":0', '"seed":1'))
    for command in ("leaderboard", "status"):
        answer = ltbench(command)
        assert (answer.status, answer.out) == (2, "")
        assert f"{path.name} was changed since it was written; restore or remove the file" in answer.err
    answer = ltbench("verify")
    assert answer.status == 1
    assert f"{path.name} was changed since it was written" in answer.out
    assert "1 finished cells: 1 agree, 0 do not" in answer.out


def test_a_mean_that_is_not_that_of_its_recalls_is_in_no_table(ltbench: Cli, store: Store) -> None:
    ce = record_of(store, "ce")
    replaced(store, ce, protocols={"last": ce.finished.last.model_copy(update={"balanced_accuracy": 410.9})})
    answer = ltbench("leaderboard")
    assert answer.status == 2
    assert f"the balanced accuracy of record {ce.id} is not the mean of its recalls" in answer.err


def test_swapped_records_are_found(ltbench: Cli, store: Store) -> None:
    one, other = sorted((store.root / "records").iterdir())
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
    answer = ltbench("verify")
    assert answer.status == 1
    assert answer.out.count("has the record of cell") == 2


def test_swapped_and_changed_predictions_are_found(ltbench: Cli, store: Store) -> None:
    paths = sorted((store.root / "arrays").iterdir())
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    answer = ltbench("verify")
    assert answer.out.count("npz are not those of the record") == 2
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    arrays = store.arrays(record_of(store, "ce"))
    arrays["confidence"][0] = np.nextafter(arrays["confidence"][0], 0)
    store.write_arrays(record_of(store, "ce").id, arrays)
    assert "npz are not those of the record" in ltbench("verify").out
    paths[0].write_bytes(contents[0][:100])
    assert "npz are damaged" in ltbench("verify").out


def test_other_settings_than_those_of_the_id_are_found(ltbench: Cli, store: Store) -> None:
    ce = record_of(store, "ce")
    (path,) = (store.root / "records").glob(f"{ce.id}-*.json")
    path.write_bytes(ce.model_copy(update={"imbalance": "50"}).write())
    assert f"{ce.id}: the id does not follow from the settings" in ltbench("verify").out


def test_an_edited_method_is_found(ltbench: Cli, store: Store) -> None:
    Path("methods/mine.py").write_text(MINE.replace("/ self.temperature", "/ (2 * self.temperature)"))
    answer = ltbench("verify", "--json")
    assert answer.status == 1
    found = {row["id"]: row["problems"] for row in json.loads(answer.out)}
    assert found[record_of(store, "ce").id] == []
    assert found[record_of(store, "mine").id] == ["stale: 1 cell of mine (edited: mine.Mine)"]


def test_changed_and_missing_images_are_told_apart(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    for split in ("train", "test"):
        folder = picture_folder({"cat": 30, "dog": 20}, at=f"pictures/{split}").parent
    options = ("--datasets", f"imagefolder:{folder}", "--imbalance", "natural", "--methods", "ce")
    assert ltbench("run", *FAST, *options).status == 0
    assert ltbench("verify").status == 0
    picture = next((folder / "train" / "cat").iterdir())
    content = picture.read_bytes()
    picture.write_bytes(next((folder / "train" / "dog").iterdir()).read_bytes())
    answer = ltbench("verify")
    assert answer.status == 1
    assert "are others (fingerprint " in answer.out
    picture.write_bytes(content)
    folder.rename(folder.with_name("elsewhere"))
    answer = ltbench("verify")
    assert answer.status == 0
    assert "images not compared: " in answer.out


def test_an_unknown_cell_is_named(ltbench: Cli, store: Store) -> None:
    answer = ltbench("verify", "xyz")
    assert answer.status == 2
    assert "no finished cell begins with 'xyz' in results" in answer.err
