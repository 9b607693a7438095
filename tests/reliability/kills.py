"""Runs of a small suite in which a process is killed at a random moment, repeated until every cell is done.

    python -m tests.reliability.kills 200

prints what was killed how often, and ends with an error as soon as a record is lost, doubled or changed.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import ltbench.cli
import ltbench.results.leaderboard
import ltbench.runner.one_cell
import ltbench.runner.workers
from ltbench.results.store import Store
from tests.conftest import numbers

SUITE = ["--methods", "ce,class_balanced_sampling,focal,ldam_drw,crt,aux_random", "--imbalance", "20", "--seeds", "1"]
OPTIONS = [*SUITE, "--set", "recipe.epochs=12", "--checkpoint-every", "0"]
PATIENCE_S = 300.0
TARGETS: dict[str, tuple[int, float, list[str]]] = {
    "parent": (6, 2.0, ["--workers", "1", "--no-tracking"]),
    "worker": (1, 3.0, ["--workers", "2", "--no-tracking"]),
    "fork server": (1, 3.0, ["--workers", "2", "--no-tracking"]),
    "follower": (1, 4.0, ["--workers", "1"]),
    "all": (1, 6.0, ["--workers", "2"]),
}
"""What is killed: how often relative to others, the latest moment in seconds, and the options of the run."""


def campaign(kills: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """Kill so many times; how often each kind of process was killed.

    Raises:
        AssertionError: when a record was lost, doubled or changed, or a command ended with a traceback.
    """
    draw, killed = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as here:
        reference = Store(Path(here, "reference"))
        assert _run(reference, "parent") == 0
        results = Store(Path(here, "results"))
        while killed.total() < kills:
            target = draw.choices(list(TARGETS), [weight for weight, _, _ in TARGETS.values()])[0]
            before = _files(results)
            status = _run(results, target, draw.uniform(0.0, TARGETS[target][1]), killed)
            lost = [name for name, content in before.items() if _files(results).get(name) != content]
            assert not lost, f"lost or changed after {target} was killed: {lost}"
            if status == 0:
                _compare(results, reference)
                shutil.rmtree(results.root)
                results = Store(results.root)
                say(f"{killed.total()} kills: {dict(killed)}")
        while _run(results, "parent") != 0:
            pass
        _compare(results, reference)
    return killed


def _run(results: Store, target: str, after_s: float | None = None, killed: Counter[str] | None = None) -> int:
    """Run the suite, in a child of this process, and kill a process of it; the exit status."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            _command([*OPTIONS, *TARGETS[target][2], "--results", str(results.root)], said.fileno())
        ended = False
        if after_s is not None and killed is not None:
            ended = _wait(child, lambda: bool(_processes(child, target)), PATIENCE_S)
            ended = ended or _wait(child, lambda: False, after_s)
            found = [] if ended else _processes(child, target)
            for pid in found:
                _kill(pid)
            if found:
                killed[target] += 1
        if not ended:
            assert _wait(child, lambda: False, PATIENCE_S), f"still running after {target} was killed"
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for pid in _processes(child, "all"):
            _kill(pid)
        said.seek(0)
        text = said.read().decode()
        assert "Traceback" not in text, text
    return status


def _command(words: list[str], output: int) -> None:
    """Become ``ltbench run`` with these words; never returns."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.pop("LTBENCH_TRACKING", None)  # the tests switch it off
    sys.argv = ["ltbench", "run", *words]
    try:
        ltbench.cli.main()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(0)


def _wait(child: int, met: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is met, or for so long; whether the child has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not met():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.02)
    return False


def _processes(child: int, target: str) -> list[int]:
    """The processes of a run that are of this kind."""
    if target == "parent":
        return [child]
    family = {child: ""}
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    for _ in range(3):
        family |= {int(pid): words for pid, parent, words in lines if int(parent) in family and int(pid) != child}
    if target == "all":
        return list(family)
    servers = [pid for pid, words in family.items() if "forkserver" in words and _parent(lines, pid) == child]
    if target == "fork server":
        return servers
    if target == "worker":
        return [pid for pid in family if _parent(lines, pid) in servers][:1]
    return [pid for pid, words in family.items() if "--follow" in words]


def _parent(lines: list[list[str]], pid: int) -> int:
    return next((int(parent) for one, parent, _ in lines if int(one) == pid), 0)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _files(results: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (results.root / "records").glob("*.json")}


def _compare(found: Store, reference: Store) -> None:
    """Every cell has one record, with the numbers of a run that nothing interrupted."""
    expected, attempts = reference.latest(), found.attempts()
    assert sorted(record.id for record in attempts) == sorted(expected), "a record was lost or doubled"
    for record in attempts:
        assert numbers(record) == numbers(expected[record.id]), f"{record.label} has other numbers"
        ours, theirs = found.arrays(record), reference.arrays(expected[record.id])
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs), f"{record.label} has other arrays"


if __name__ == "__main__":
    print(dict(campaign(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns())))
