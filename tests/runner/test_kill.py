"""``kill -9`` at any moment: nothing is lost, doubled or changed, and two runs at once share the work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ltbench.results.store import Store
from tests.conftest import numbers

DRIVER = """
# Imports once, then runs the command in forked children, which it kills with SIGKILL after random delays.
import os, random, signal, sys, time
import torch
import ltbench.cli, ltbench.runner.one_cell, ltbench.runner.workers, ltbench.results.leaderboard

def child(*options):
    pid = os.fork()
    if pid == 0:
        fast = ["--methods", "ce,class_balanced_sampling,focal,ldam_drw,crt,aux_random", "--seeds", "1"]
        fast += ["--imbalance", "20", "--set", "recipe.epochs=12", "--workers", "1"]
        sys.argv = ["ltbench", "run", *fast, *options]
        sys.stdout = sys.stderr = open(os.devnull, "w")
        try:
            ltbench.cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(0)
    return pid

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""


def drive(code: str) -> list[int]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent.parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", DRIVER + code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    answers: list[int] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The results of a run that nothing interrupted."""
    results = tmp_path_factory.mktemp("reference")
    assert drive(f"print([wait(child('--results', {str(results)!r}))])") == [0]
    return Store(results)


def assert_equal(found: Store, reference: Store) -> None:
    attempts = found.attempts()
    assert len(attempts) == len(reference.attempts()) == 6
    expected = reference.latest()
    for cell, record in found.latest().items():
        assert numbers(record) == numbers(expected[cell])
        ours, theirs = found.arrays(record), reference.arrays(expected[cell])
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert sorted(p.name for p in found.root.glob("stages/*.pt")) == sorted(
        p.name for p in reference.root.glob("stages/*.pt")
    )


@pytest.mark.slow
def test_killed_ten_times_at_random_moments(reference: Store) -> None:
    answers = drive("""
random.seed(int.from_bytes(os.urandom(4), "big"))
statuses = []
for _ in range(10):
    pid = child("--results", "killed", "--checkpoint-every", "0")
    time.sleep(random.uniform(0.05, 0.6))
    os.kill(pid, signal.SIGKILL)
    statuses.append(wait(pid))
statuses.append(wait(child("--results", "killed", "--checkpoint-every", "0")))
print(statuses)
""")
    assert answers[-1] == 0
    assert answers.count(-9) >= 5  # the others had come to the end before their moment
    assert_equal(Store("killed"), reference)


METHODS = "ce,class_balanced_sampling,focal,ldam_drw,crt,aux_random"
ORDER = "crt,aux_random,ce,ldam_drw,focal,class_balanced_sampling"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--workers", "2"], id="two workers"),
        pytest.param(["--workers", "4"], id="four workers", marks=pytest.mark.slow),
        pytest.param(["--workers", "2", "--methods", ORDER], id="order", marks=pytest.mark.slow),
        pytest.param(["--runs-per-device", "3"], id="three threads", marks=pytest.mark.slow),
    ],
)
def test_every_bit_is_the_same_however_the_work_is_divided(reference: Store, options: list[str]) -> None:
    assert drive(f"print([wait(child('--results', 'divided', *{options!r}))])") == [0]
    assert_equal(Store("divided"), reference)


@pytest.mark.slow
def test_a_run_that_is_killed_and_repeated_with_few_cells_left_gives_the_same_numbers(reference: Store) -> None:
    first = f"print([wait(child('--results', 'repeated', '--methods', {METHODS.rpartition(',')[0]!r}))])"
    assert drive(first) == [0]
    assert drive("print([wait(child('--results', 'repeated', '--workers', '2'))])") == [0]  # one cell is left
    assert_equal(Store("repeated"), reference)


def test_two_runs_at_once_share_the_work(reference: Store) -> None:
    answers = drive("""
pids = [child("--results", "shared"), child("--results", "shared")]
print([wait(pid) for pid in pids])
""")
    assert answers == [0, 0]
    assert_equal(Store("shared"), reference)


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_short_is_trained_again(reference: Store) -> None:
    shutil.copytree(reference.root / "stages", "repaired/stages")
    for path in Path("repaired/stages").glob("*.pt"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert drive("print([wait(child('--results', 'repaired'))])") == [0]
    assert_equal(Store("repaired"), reference)
