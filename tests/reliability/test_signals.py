"""Ctrl-C and SIGTERM: the first one ends a command in order, the second one at once, and no process stays behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import MINE
from tests.reliability.attack import PATIENCE_S, Attack, ended, fault
from tests.reliability.test_methods_that_misbehave import plant

SAYS = "ltbench: interrupted; finished cells are kept; repeat the command to continue"
SLEEPS = "import pathlib, time; pathlib.Path('results/begun').touch(); time.sleep(0.2)"
GOES_ON = """import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN) if __import__('multiprocessing').parent_process() else None
        pathlib.Path('results/begun').touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pathlib.Path('results/first').touch()
            time.sleep(60)"""
"""A loss that goes on after Ctrl-C, and in a worker after SIGTERM."""
WHERE = ("--imbalance", "20", "--methods", "mine")
RUN = ("run", *WHERE, "--seeds", "2", "--set", "recipe.epochs=100")
TUNE = ("tune", *WHERE, "--trials", "2", "--set", "recipe.epochs=100")
DAY_S = 86400


def begun(attack: Attack, *words: str) -> "subprocess.Popen[str]":
    """A command that is in the middle of its first epoch."""
    running = attack.started(*words)
    wait_for(Path("results/begun"))
    return running


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


def beside() -> list[int]:
    """The other processes that work in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").resolve(strict=True) == Path.cwd()
        except OSError:
            continue
        if here and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def wait_until_alone() -> None:
    until = time.monotonic() + PATIENCE_S
    while beside() and time.monotonic() < until:
        time.sleep(0.1)
    assert not beside()


TERM = fault("Terminal and files", "SIGTERM in the middle of an epoch")
INT = fault("Terminal and files", "Ctrl-C in the middle of an epoch")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "workers", "how"),
    [
        pytest.param(RUN, "1", signal.SIGTERM, marks=TERM),
        pytest.param(RUN, "2", signal.SIGTERM, marks=TERM),
        pytest.param(TUNE, "1", signal.SIGTERM, marks=TERM),
        pytest.param(TUNE, "2", signal.SIGTERM, marks=TERM),
        pytest.param(RUN, "2", signal.SIGINT, marks=INT),
    ],
)
def test_a_signal_ends_a_command_with_one_line_and_no_orphan(
    attack: Attack, words: tuple[str, ...], workers: str, how: signal.Signals
) -> None:
    plant(SLEEPS)
    running = begun(attack, *words, "--workers", workers)
    running.send_signal(how)
    answer = ended(running)
    assert answer.err.count(SAYS) == 1
    attack.shown(answer, 130, SAYS)
    wait_until_alone()


@pytest.mark.slow
@pytest.mark.parametrize(("words", "workers"), [(RUN, "1"), (RUN, "2"), (TUNE, "2")])
@fault("Terminal and files", "SIGTERM twice, where a method goes on after the first one")
def test_a_second_signal_ends_a_command_at_once(attack: Attack, words: tuple[str, ...], workers: str) -> None:
    plant(GOES_ON)
    running = begun(attack, *words, "--workers", workers)
    running.terminate()
    if workers == "1":
        wait_for(Path("results/first"))
    else:
        time.sleep(1)
    assert running.poll() is None
    sent = time.monotonic()
    running.terminate()
    attack.shown(ended(running), 143, "")
    assert time.monotonic() - sent < 30  # the method sleeps for a minute
    wait_until_alone()
    for path in Path("results").rglob("*"):
        os.utime(path, (time.time() - 2 * DAY_S,) * 2)
    Path("methods/mine.py").write_text(MINE)
    assert attack(*words[:-1], "recipe.epochs=1", "--workers", "1").status == 0  # what was left is swept away
    assert [path for path in Path("results").rglob("*") if path.suffix in (".tmp", ".lease")] == []


@pytest.mark.slow
@fault("Terminal and files", "SIGTERM while a process follows in MLflow")
def test_the_process_that_follows_ends_too(attack: Attack) -> None:
    plant(SLEEPS)
    running = begun(attack, *RUN, "--workers", "1", "--tracking")
    running.terminate()
    attack.shown(ended(running), 130, SAYS)
    wait_until_alone()


@pytest.mark.slow
@fault("Terminal and files", "Ctrl-C while method files are still being imported")
def test_a_signal_before_the_first_cell(attack: Attack) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text("import pathlib, time\npathlib.Path('results').mkdir()\ntime.sleep(60)\n")
    running = attack.started("run", "--dry-run", "--methods", "ce")
    wait_for(Path("results"))
    running.send_signal(signal.SIGINT)
    attack.shown(ended(running), 130, SAYS)
