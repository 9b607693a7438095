"""Workers: the same records as one process, whatever happens to one of them."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.processes import _Remote
from tests.conftest import MINE, Answer, numbers

Cli = Callable[..., Answer]
CELLS = ("--imbalance", "20", "--seeds", "2", "--set", "recipe.epochs=2", "--methods", "ce,crt,focal,mine,killer")


def test_two_workers_give_the_records_of_one_and_outlive_a_dead_one(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    dying = MINE.replace(
        "        return", "        __import__('os').kill(__import__('os').getpid(), 9)\n        return"
    )
    Path("methods/killer.py").write_text(dying.replace("class Mine", "class Killer"))
    two = ltbench("run", *CELLS, "--workers", "2", "--threads", "1", "--results", "two")
    assert two.status == 1
    assert "killer / seed 0: FAILED: its process ended with exit status -9" in two.err
    assert "[10/10]" in two.err
    one = ltbench("run", *CELLS[:-1], "ce,crt,focal,mine", "--workers", "1", "--threads", "1", "--results", "one")
    assert one.status == 0
    attempts = Store("two").attempts()
    assert len(attempts) == 10
    found = {r.id: numbers(r) for r in attempts if r.status == "done"}
    assert found == {cell: numbers(record) for cell, record in Store("one").latest().items()}
    reused = [r.finished.cost.reused_seconds > 0 for r in attempts if r.method in ("ce", "crt")]
    assert sum(reused) == 2  # whichever of the two came first trained their common stage, for each seed


def test_a_worker_whose_parent_is_gone_ends_and_fails_no_cell() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    ours.close()
    with pytest.raises(KeyboardInterrupt):
        _Remote(theirs).epoch("cell", "stage", 1, 2)


@pytest.mark.parametrize(("cells", "workers"), [(0, 1), (1, 1), (3, 3), (4, 4), (100, 4)])
def test_a_cell_has_one_thread_however_many_cells_are_left(
    monkeypatch: pytest.MonkeyPatch, cells: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    found = RunOptions(device="cpu").resolved([None] * cells)
    assert (found.workers, found.threads) == (workers, 1)


def test_given_numbers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert RunOptions(device="cpu", workers=2).resolved([None] * 100).workers == 2
    assert RunOptions(device="cpu", threads=3).resolved([None]).threads == 3
