"""Stored predictions that are not those of their record, and records of one cell that contradict each other."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ltbench.results.record import Record
from ltbench.results.store import Store
from tests.made import made_record, record_of
from tests.reliability.attack import Attack, fault

REPORT = pytest.param(("report", "-o", "results/page.html"), marks=pytest.mark.slow)
READERS = (("classes", "ce"), ("verify",), REPORT)
SHOWING = (
    *(("leaderboard",), ("leaderboard", "--shifted"), ("classes", "ce"), ("status",), ("show", "{id}"), ("verify",)),
    *(("compare", "results", "results"), REPORT),
)
NO_RESULT = {"verify": 1}
"""Exit statuses other than 2 of commands that go on: ``verify`` lists whatever is wrong."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(path: Path) -> None:
    """Another number in an archive that is as good as before."""
    with np.load(path) as file:
        arrays = dict(file)
    arrays["predicted"][0] += 1
    np.savez(path, **arrays)


def swap(path: Path) -> None:
    """The predictions of another seed, as whole as its own."""
    path.write_bytes(Store("results").arrays_path(record_of("ce", seed=1).id).read_bytes())


def bomb(path: Path) -> None:
    """A small archive that would unpack to 20 GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("labels.npy", "w", force_zip64=True) as to:
        for _ in range(64):
            to.write(bytes(1 << 20))
    content = path.read_bytes().replace((64 << 20).to_bytes(4, "little"), (20 << 27).to_bytes(4, "little"))
    path.write_bytes(content)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damaged(attack: Attack, words: tuple[str, ...], damage: object, says: str) -> None:
    for seed in range(2):
        made_record(Store("results"), "ce", seed=seed, command="ltbench run --methods ce --seeds 0,")
    record = record_of("ce")
    damage(Store("results").arrays_path(record.id))
    answer = attack(*words)
    attack.shown(answer, NO_RESULT.get(words[0], 2), says)
    repair = f"train the cell again: rm results/records/{record.id}-*.json && ltbench run --methods ce --seeds 0,"
    assert says.startswith("results/arrays") or f"{record.id}.npz" in answer.err + answer.out
    assert damage is folder or repair in answer.err + answer.out


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
@fault("Results folder", "the predictions of a cell are cut")
def test_cut_predictions(attack: Attack, words: tuple[str, ...]) -> None:
    damaged(attack, words, cut, "npz are damaged (BadZipFile: File is not a zip file); restore the file")


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
@fault("Results folder", "one bit of a cell's predictions is altered")
def test_altered_predictions(attack: Attack, words: tuple[str, ...]) -> None:
    damaged(attack, words, alter, "npz are damaged (BadZipFile: Bad CRC-32")


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
@fault("Results folder", "the predictions of a cell are replaced by those of another one")
def test_swapped_predictions(attack: Attack, words: tuple[str, ...]) -> None:
    damaged(attack, words, swap, "npz are not those of the record; restore the file")


@fault("Results folder", "one prediction is changed in a file that is as whole as before")
def test_changed_predictions(attack: Attack) -> None:
    damaged(attack, ("classes", "ce"), rewrite, "npz are not those of the record; restore the file")


@fault("Results folder", "a file of predictions that would unpack to gigabytes")
def test_predictions_that_unpack_to_gigabytes(attack: Attack) -> None:
    damaged(attack, ("classes", "ce"), bomb, "bytes where at most 1418576 are possible")


@fault("Results folder", "a folder in place of a cell's predictions")
def test_a_folder_in_place_of_predictions(attack: Attack) -> None:
    damaged(attack, ("classes", "ce"), folder, "npz is not a file; remove it")


def contradicting() -> tuple[Record, Record]:
    """Two finished records of one cell with different results, as in merged folders; older and newer."""
    one = made_record(Store("results"), "ce", skill=1.0)
    other = made_record(Store("other"), "ce", skill=2.0)
    assert one.id == other.id
    assert one.created < other.created
    shutil.copytree("other/records", "results/records", dirs_exist_ok=True)
    return one, other


@pytest.mark.parametrize("words", SHOWING, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize("arrays_of_newer", [False, True], ids=["older", "newer"])
@fault("Results folder", "merged folders with two results of one cell")
def test_two_results_of_one_cell(attack: Attack, words: tuple[str, ...], arrays_of_newer: bool) -> None:
    one, other = contradicting()
    if arrays_of_newer:
        shutil.copytree("other/arrays", "results/arrays", dirs_exist_ok=True)
    used = other if arrays_of_newer else one
    shutil.rmtree("other")
    answer = attack(*(word.format(id=one.id) for word in words))
    stamp = "".join(c for c in used.created if c.isdigit())[:20]
    says = f"{used.id}-{stamp}.json is used: results/arrays/{used.id}.npz belongs to it"
    attack.shown(answer, NO_RESULT.get(words[0], 0), f"2 records of cell {one.id} have different results")
    assert says in answer.err
    assert answer.err.count("have different results") == 1
    if words[0] == "leaderboard" and len(words) == 1:
        assert f"{used.finished.last.balanced_accuracy:.1f} ±" in answer.out
    if words[0] == "verify":
        assert "npz are" not in answer.out


@fault("Results folder", "merged folders with two results of one cell, and the predictions of neither")
def test_two_results_of_one_cell_without_predictions(attack: Attack) -> None:
    one, other = contradicting()
    shutil.rmtree("other")
    shutil.rmtree("results/arrays")
    attack.shown(attack("leaderboard"), 0, "is used: which is the newest; results/arrays")
    assert Store("results").latest()[one.id].created == other.created


@fault("Results folder", "merged folders with the same result of one cell twice")
def test_the_same_result_twice_is_no_conflict(attack: Attack) -> None:
    made_record(Store("results"), "ce")
    made_record(Store("results"), "ce")
    answer = attack("leaderboard")
    attack.shown(answer, 0, "ce")
    assert "different results" not in answer.err
