"""What ``ltbench status`` says of a results folder, above all which results are stale."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ltbench.method.registry import discover
from ltbench.method.source import engine
from ltbench.results.leaderboard import load_results
from ltbench.results.status import cell_states, counts, stale_lines, with_changes
from ltbench.results.store import Store
from tests.conftest import FAST, Answer
from tests.made import as_planned, made_failure, made_record, record_of

MINE = """
from ltbench import Method
from _lib import scaled
class Mine(Method):
    "Mine."
    def loss(self, net, batch, clock):
        return scaled(super().loss(net, batch, clock))
"""
HELPER = "SCALE = 2\ndef scaled(loss): return SCALE * loss\n"


@pytest.fixture
def helper() -> Path:
    """A method of the user with a helper beside it; returns the helper."""
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    Path("methods/_lib.py").write_text(HELPER)
    return Path("methods/_lib.py")


@pytest.fixture
def store() -> Store:
    """Two seeds of two methods and of `Mine`, a failed cell and one to do, all in one plan."""
    store, registry = Store("results"), discover()
    cells = [
        made_record(store, method, seed=seed, sources={**engine(), **registry[method].pieces})
        for method in ("crt", "mine", "ride")
        for seed in (0, 1)
    ]
    made_failure(store, "ce")
    failed = next(record for record in store.latest().values() if record.result is None)
    to_do = record_of("ce", seed=1).model_copy(update={"id": "0"})
    plan = [as_planned(record) for record in (*cells, failed, to_do)]
    store.add_plan("plan", {"suite": "quickstart", "cells": plan})
    return store


def lines(store: Store, *folders: Path) -> list[str]:
    return said(with_changes(cell_states(store), store, folders))


def said(cells: Iterable[dict[str, Any]]) -> list[str]:
    return stale_lines((cell["method"], cell["changed"]) for cell in cells)


def test_cells_are_done_failed_or_to_do(helper: Path, store: Store) -> None:
    assert counts(cell_states(store)) == {"quickstart": {"done": 6, "running": 0, "failed": 1, "to do": 1}}


def test_nothing_is_stale_as_long_as_nothing_is_edited(helper: Path, store: Store) -> None:
    helper.write_text(f"# a comment\n{HELPER}")
    assert lines(store) == []
    assert all(cell["changed"] == {} for cell in with_changes(cell_states(store), store))


def test_an_edit_is_named_with_the_methods_whose_results_it_makes_stale(helper: Path, store: Store) -> None:
    helper.write_text(HELPER.replace("2", "3"))
    assert lines(store) == ["stale: 2 cells of mine (edited: _lib.SCALE)"]
    changed = {cell["method"]: cell["changed"] for cell in with_changes(cell_states(store), store)}
    assert changed == {"crt": {}, "mine": {"_lib.SCALE": "edited"}, "ride": {}, "ce": {}}


def test_edits_of_the_same_cells_are_one_line_and_others_lines_of_their_own(helper: Path, store: Store) -> None:
    sources = {**engine(), "ltbench.metrics.scores": "old", "ltbench.metrics.summary": "old"}
    old = made_record(store, "crt", seed=2, sources={**sources, **discover()["crt"].pieces, "crt.Crt": "old"})
    new = made_record(store, "ride", seed=2, sources={**sources, "ltbench.metrics.gone": "old"})
    cells = [{"id": r.id, "method": r.method, "seed": 2} for r in (old, new)]
    found = said(with_changes(cells, store))
    assert found == [
        "stale: 2 cells of crt, ride (edited: ltbench.metrics.scores, ltbench.metrics.summary)",
        "stale: 1 cell of crt (edited: crt.Crt)",
        "stale: 1 cell of ride (not found: ltbench.metrics.gone)",
    ]


def test_of_many_names_the_first_few_are_shown() -> None:
    assert stale_lines([("m", dict.fromkeys("abcdefgh", "edited"))]) == [
        "stale: 1 cell of m (edited: a, b, c, d, e, f and 2 more)"
    ]


def test_a_file_in_another_folder_is_found_when_the_folder_is_given(helper: Path, store: Store) -> None:
    Path("methods").rename("elsewhere")
    assert lines(store, Path("elsewhere")) == []
    assert lines(store) == [
        "not compared with the code: 2 cells of mine (no file: _lib.SCALE, _lib.scaled, mine.Mine)",
        "Name the folders of method files that are not in ./methods with --methods-dir.",
    ]
    assert set(load_results(store).status) == {"done", "failed"}  # where nothing is known, a result counts


def test_from_the_run_to_the_line(helper: Path, ltbench: Callable[..., Answer]) -> None:
    run = ("run", *FAST, "--methods", "ce,mine")
    assert ltbench(*run).status == 0
    assert "stale" not in ltbench("status").out
    first = ltbench("leaderboard", "--format", "csv").out
    helper.write_text(HELPER.replace("2", "3"))
    assert "stale: 1 cell of mine (edited: _lib.SCALE)\n" in ltbench("status").out
    answer = ltbench("leaderboard", "--format", "csv")
    assert "stale: 1 cell of mine (edited: _lib.SCALE)" in answer.err
    assert "mine" in first and "mine" not in answer.out
    assert "1 done, 1 to do" in ltbench(*run).err
    assert "stale" not in ltbench("status").out
    helper.write_text(HELPER)  # the edit is undone: the first results count again, and no others
    assert "2 done, 0 to do" in ltbench(*run).err
    assert ltbench("leaderboard", "--format", "csv").out == first


def test_after_an_edit_and_a_run_at_one_imbalance_the_other_shows_no_old_row(
    helper: Path, ltbench: Callable[..., Answer]
) -> None:
    both = ("run", *FAST, "--methods", "ce,mine", "--imbalance", "20,10")
    assert ltbench(*both).status == 0
    helper.write_text(HELPER.replace("2", "3"))
    assert ltbench(*both[:-1], "20").status == 0
    rows = json.loads(ltbench("leaderboard", "--json").out)
    assert {(row["method"], row["imbalance"]) for row in rows} == {("ce", "20"), ("ce", "10"), ("mine", "20")}
    ltbench("report")
    assert "stale: 1 cell of mine (edited: _lib.SCALE)" in Path("report.html").read_text()


def test_where_all_results_are_stale_a_line_says_so(helper: Path, ltbench: Callable[..., Answer]) -> None:
    for seed in (0, 1):
        made_record(Store("results"), "mine", seed=seed, sources={**engine(), **discover()["mine"].pieces})
    helper.write_text(HELPER.replace("2", "3"))
    for command in ("leaderboard", "report"):
        assert "nothing to show from results: all its 2 results are stale" in ltbench(command).err, command
