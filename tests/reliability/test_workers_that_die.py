"""Workers that die, are interrupted, or start in a folder with hostile names."""

import os
import signal
import time
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST, MINE, Answer
from tests.reliability.attack import Attack, fault
from tests.reliability.test_methods_that_misbehave import plant

TWO = (*FAST[:-1], "2")


def session(of: int) -> list[int]:
    """The processes of a session that still live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number, *_ = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(number) == of and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_empty(number: int) -> None:
    until = time.monotonic() + 20
    while session(number) and time.monotonic() < until:
        time.sleep(0.1)
    assert not session(number)


@pytest.mark.slow
@fault("Workers", "a method calls os._exit(0) in a worker, each time")
def test_a_worker_that_ends_quietly_each_time(attack: Attack) -> None:
    plant("__import__('os')._exit(0)")
    answer = attack("run", *TWO, "--methods", "mine,ce")
    attack.shown(answer, 1, "its process ended with exit status 0, 3 times")
    assert "queued again (2 of 2)" in answer.err
    found = {r.method: r for r in Store().latest().values()}
    assert found["mine"].died
    assert found["ce"].status == "done"


@pytest.mark.slow
@fault("Workers", "a worker is killed once in a cell")
def test_a_cell_whose_worker_is_killed_once_is_trained_again(attack: Attack) -> None:
    plant(
        "import os, pathlib; p = pathlib.Path('results/once')\n"
        "        if not p.exists(): p.touch(); os.kill(os.getpid(), 9)"
    )
    answer = attack("run", *TWO, "--methods", "mine,ce")
    attack.shown(answer, 0, "ended with exit status -9 (killed, often because memory ran out); queued again (1 of 2)")


@pytest.mark.slow
@fault("Workers", "a method changes the state of a worker, which trains other methods after it")
def test_a_worker_whose_state_was_changed_is_replaced(attack: Attack) -> None:
    plant("torch.set_default_dtype(torch.float64)")
    attack.shown(attack("run", *TWO, "--methods", "mine,ce,focal"), 1, "changed torch.get_default_dtype()")
    assert sorted(r.status for r in Store().latest().values()) == ["done", "done", "failed"]


@pytest.mark.slow
@fault("Workers", "two methods with --isolate")
def test_isolate_gives_each_method_a_process_of_its_own(attack: Attack) -> None:
    Path("methods").mkdir()
    note = "        import os, pathlib; pathlib.Path(f'results/{type(self).__name__}-{os.getpid()}').touch()\n"
    for name in ("mine", "yours"):
        text = MINE.replace("        return", note + "        return").replace("class Mine", f"class {name.title()}")
        Path(f"methods/{name}.py").write_text(text)
    words = ("run", *FAST, "--methods", "mine,yours", "--seeds", "2", "--isolate")
    attack.shown(attack(*words), 0, "mine")
    pids = {name: {p.name.split("-")[1] for p in Path("results").glob(f"{name}-*")} for name in ("Mine", "Yours")}
    assert all(pids.values())
    assert not pids["Mine"] & pids["Yours"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGTERM, marks=fault("Terminal and files", "SIGTERM in the middle of an epoch")),
        pytest.param(signal.SIGINT, marks=fault("Terminal and files", "SIGINT in the middle of an epoch")),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_ends_a_run_with_one_line_and_no_orphan(attack: Attack, how: signal.Signals, workers: str) -> None:
    running = started(attack, workers)
    os.kill(running.pid, how)
    out, err = running.communicate(timeout=30)
    says = "ltbench: interrupted; finished cells are kept; repeat the command to continue"
    attack.shown(Answer(running.returncode, out, err), 130, says)
    wait_until_empty(running.pid)


@pytest.mark.slow
@fault("Workers", "the parent process of the workers is killed")
def test_no_worker_outlives_its_parent(attack: Attack) -> None:
    running = started(attack, "2")
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=30)
    wait_until_empty(running.pid)
    attack.shown(attack("status"), 0, "to do")


def started(attack: Attack, workers: str):  # type: ignore[no-untyped-def]
    """A run in the middle of its first cell."""
    plant("import time, pathlib; pathlib.Path('results/begun').touch(); time.sleep(0.2)")
    words = ("--imbalance", "20", "--seeds", "2", "--set", "recipe.epochs=100", "--no-tracking")
    running = attack.started("run", *words, "--methods", "mine", "--workers", workers)
    until = time.monotonic() + 60
    while not Path("results/begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert Path("results/begun").exists()
    return running


@pytest.mark.slow
@fault("Workers", "random.py and signal.py in the working folder")
def test_files_of_the_working_folder_are_not_imported(attack: Attack) -> None:
    for name in ("random", "signal"):
        Path(f"{name}.py").write_text("open('results-of-an-attack', 'w')\nraise SystemExit('attacked')\n")
    attack.shown(attack("run", *TWO, "--methods", "focal,ce"), 0, "focal")
    assert not Path("results-of-an-attack").exists()
