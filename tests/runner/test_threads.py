"""Several runs in one process: the same records, whatever happens to one of them, and how many of them pay."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ltbench.check.pretended import Device
from ltbench.errors import InputError
from ltbench.randomness import Draws, seeded
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.threads import Speed, Todo, Together, next_runs
from tests.conftest import FAST, MINE, Answer, numbers

Cli = Callable[..., Answer]
ASKED = "ce,class_balanced_sampling,focal,ldam_drw,crt,aux_random,sam,paco,dropping,dropping2,failing"
CELLS = ("--methods", ASKED, "--imbalance", "20,10", "--seeds", "1", "--set", "recipe.epochs=3", "--threads", "1")
DROPPING = MINE.replace("class Mine", "class Dropping").replace(
    "net(batch.images) / self.temperature", "F.dropout(net(batch.images), 0.5)"
)
FAILING = MINE.replace("class Mine", "class Failing").replace(
    "        return", "        raise OSError('boom')\n        return"
)


@pytest.fixture
def own_methods() -> None:
    """Two methods that draw from torch's generator and one that fails, beside the built-in ones."""
    Path("methods").mkdir()
    Path("methods/dropping.py").write_text(DROPPING)
    Path("methods/dropping2.py").write_text(DROPPING.replace("0.5", "0.4"))
    Path("methods/failing.py").write_text(FAILING)


def finished(results: str) -> dict[str, dict[str, Any]]:
    return {cell: numbers(record) for cell, record in Store(results).latest().items() if record.status == "done"}


def test_runs_together_give_the_records_of_one_at_a_time(ltbench: Cli, own_methods: None) -> None:
    together = ltbench("run", *CELLS, "--runs-per-device", "3", "--results", "together")
    assert together.status == 1
    assert together.err.count("FAILED: OSError: boom") == 2
    assert "[22/22]" in together.err
    alone = ltbench("run", *CELLS, "--workers", "1", "--results", "alone")
    assert alone.status == 1
    attempts = Store("together").attempts()
    assert len(attempts) == 22
    assert finished("together") == finished("alone")
    assert sum(r.finished.cost.reused_seconds > 0 for r in attempts if r.method in ("ce", "crt")) == 2
    for record in attempts:
        if record.status == "done":
            assert (record.finished.cost.runs_together > 1) == (record.finished.cost.peak_memory_bytes is None)
    assert max(r.finished.cost.runs_together for r in attempts if r.status == "done") == 3
    assert "‡" in ltbench("leaderboard", "--results", "together").out
    assert "runs together" in ltbench("show", attempts[0].id, "--results", "together").out


def test_graphs_replayed_together_on_a_gpu_give_the_records_of_one_at_a_time(
    ltbench: Cli, own_methods: None, gpu: Device | None
) -> None:
    graphs = ("--imbalance", "20", "--device", "cuda", "--tier", "graph")
    assert ltbench("run", *CELLS, *graphs, "--runs-per-device", "4", "--results", "together").status == 1
    assert ltbench("run", *CELLS, *graphs, "--results", "alone").status == 1
    found = finished("together")
    assert {tier.tier for record in found.values() for tier in record.finished.stages} == {"graph"}
    assert found == finished("alone")


def test_a_final_stage_that_another_cell_trained_on_a_gpu_is_reused(ltbench: Cli, gpu: Device | None) -> None:
    options = ("--imbalance", "20", "--seeds", "1", "--set", "recipe.epochs=1", "--device", "cuda")
    for name in ("crt", "ce"):
        assert ltbench("run", "--methods", name, *options).status == 0
    (record,) = [record for record in Store("results").attempts() if record.method == "ce"]
    assert 0 < record.finished.cost.reused_seconds == record.finished.cost.train_seconds
    assert record.finished.environment.device_name == (gpu.name if gpu else torch.cuda.get_device_name())


def test_ctrl_c_ends_all_runs_and_keeps_what_is_finished() -> None:
    command = [sys.executable, "-m", "ltbench", "run", "--seeds", "2", "--methods", "ce,focal"]
    command += ["--set", "recipe.epochs=2000", "--runs-per-device", "3", "--threads", "1", "--checkpoint-every", "0.2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 60
        while len(list(Path("results").glob("stages/*.partial.pt"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; finished cells are kept" in said
    assert len(list(Path("results").glob("stages/*.partial.pt"))) == 3


def test_a_thread_that_cannot_go_on_ends_the_others_and_is_heard() -> None:
    ended = threading.Event()

    def work(wanted: Callable[[], bool]) -> None:
        if threading.current_thread() is together.threads[0]:
            time.sleep(0.2)
            raise InputError("disk full")
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            ended.set()
            raise

    together = Together(work, 2, Speed())
    with pytest.raises(InputError, match="disk full"):
        together.run()
    assert ended.is_set()


# torch's one generator


def test_a_stage_that_draws_nothing_is_seeded_in_its_first_epoch_only() -> None:
    draws = Draws(torch.device("cpu"))
    before = torch.get_rng_state()
    with draws.epoch(1):
        assert not torch.equal(torch.get_rng_state(), before)
    with draws.epoch(2):
        assert torch.equal(torch.get_rng_state(), before)


def test_a_stage_that_draws_is_seeded_in_every_epoch_and_keeps_others_away() -> None:
    draws, found, entered = Draws(torch.device("cpu")), [], threading.Event()

    def other() -> None:
        with seeded(7):
            entered.set()

    for _ in range(2):
        with draws.epoch(3):
            thread = threading.Thread(target=other)
            thread.start()
            assert not entered.wait(0.1)
            found.append(torch.rand(4))
        thread.join()
        assert entered.is_set()
        entered.clear()
    assert torch.equal(*found)


# who takes what


def planned(name: str, *stages: str) -> Any:
    return SimpleNamespace(cell=SimpleNamespace(id=name), stages=[SimpleNamespace(id=stage) for stage in stages])


def test_a_cell_waits_for_the_thread_that_trains_its_stage() -> None:
    store = Store("results")
    todo = Todo([planned("long", "shared", "own"), planned("short", "shared"), planned("other", "else")], store)
    first, second = todo.take(), todo.take()
    assert first is not None and second is not None
    assert (first.planned.cell.id, second.planned.cell.id) == ("long", "other")
    assert (first.together, second.together) == (2, 2)
    store.stage_path("shared").parent.mkdir(parents=True)
    store.stage_path("shared").touch()
    third = todo.take()
    assert third is not None and third.planned.cell.id == "short"
    assert todo.take() is None


def test_two_processes_never_wait_for_the_same_stage() -> None:
    store = Store("results")
    cells = [planned("one", "shared", "own"), planned("two", "shared"), planned("three", "else")]
    here, there = Todo(cells, store), Todo(cells, store)
    first, second = here.take(), there.take()
    assert first is not None and second is not None
    assert (first.planned.cell.id, second.planned.cell.id) == ("one", "three")
    here.give_back(first)
    third = there.take()
    assert third is not None and third.planned.cell.id == "one"  # it has no record yet as far as this list knows


def test_nothing_is_taken_by_a_thread_that_is_not_wanted() -> None:
    assert Todo([planned("a", "s")], Store("results")).take(lambda: False) is None


# how many


@pytest.mark.parametrize(
    ("speeds", "best"),
    [
        ([100, 190, 300, 310, 320], 4),  # eight bring 3 %
        ([100, 104, 200, 400, 800], 1),
        ([100, 200, 400, 800, 1600], 16),
        ([100, 105, 110.3, 100, 100], 4),
    ],
)
def test_runs_are_added_while_all_together_become_faster_by_five_per_cent(speeds: list[float], best: int) -> None:
    simulated, measured, runs = dict(zip((1, 2, 4, 8, 16), speeds, strict=True)), {}, 1
    while runs not in measured:
        measured[runs] = simulated[runs]
        runs = next_runs(measured)
    assert runs == best


def test_threads_are_added_and_sent_home_by_what_is_measured() -> None:
    class Simulated(Speed):
        def measured(self, runs: int) -> float | None:
            return {1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0}[runs]

    def work(wanted: Callable[[], bool]) -> None:
        while wanted() and len(together.speeds) < 4:
            time.sleep(0.01)
        if wanted():
            stayed.append(wanted)

    stayed: list[Callable[[], bool]] = []
    together = Together(work, None, Simulated())
    together.run()
    assert (len(together.threads), len(stayed)) == (8, 4)


def test_automatic_runs_finish_a_suite(ltbench: Cli) -> None:
    assert ltbench("run", *FAST[:-2], "--runs-per-device", "auto").status == 0


def test_the_speed_is_measured_once_every_run_has_got_going() -> None:
    now = [0.0]
    speed = Speed(clock=lambda: now[0], seconds=10, epochs=2)
    for name in "aab":
        speed.epoch(name, 100.0)
        assert speed.measured(2) is None  # b has not got going
    speed.epoch("b", 100.0)
    assert speed.measured(2) is None  # from here on
    for _ in range(2):
        speed.epoch("a", 100.0)
        speed.epoch("b", 100.0)
        now[0] += 4
    assert speed.measured(2) is None  # 8 s are too short
    now[0] += 2
    assert speed.measured(2) == 40.0


def test_settings_that_exclude_one_another_are_refused(ltbench: Cli) -> None:
    answer = ltbench("run", "--runs-per-device", "2", "--workers", "2")
    assert answer.status == 2
    assert "remove --workers" in answer.err.splitlines()[-1]
    for wrong in ("0", "17", "many"):
        assert "allowed: 1 to 16, auto" in ltbench("run", "--runs-per-device", wrong).err
    assert RunOptions(device="cpu", runs_per_device=2).resolved([None] * 100).workers == 1
