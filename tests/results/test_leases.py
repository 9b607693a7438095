"""Leases: one owner at a time, free when the owner is dead or was asleep for too long, and no file lock is needed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results import leases
from ltbench.results.leases import Leases, Lost
from ltbench.results.store import Store
from tests.made import record_of

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys
from ltbench.results import leases
leases.LEASE_S = float(sys.argv[1])
from pathlib import Path
lease = leases.Leases(Path("locks")).take("cell")
print(lease is not None, flush=True)
input()
print(lease.lost, flush=True)
"""


def python(code: str, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


@pytest.fixture
def owner() -> Callable[[], subprocess.Popen[str]]:
    def start() -> subprocess.Popen[str]:
        found = python(OWNER, str(leases.LEASE_S))
        assert found.stdout is not None
        assert found.stdout.readline() == "True\n"
        return found

    return start


def test_a_lease_has_one_owner_until_it_is_released() -> None:
    first, second = Leases(Path("locks")), Leases(Path("locks"))
    lease = first.take("cell")
    assert lease is not None
    assert first.take("cell") is None
    assert second.take("cell") is None
    assert second.taken("cell")
    other = second.take("another cell")
    assert other is not None
    lease.release()
    assert not lease.lost
    assert not second.taken("cell")
    again = second.take("cell")
    assert again is not None
    again.release()
    other.release()
    assert not list(Path("locks").iterdir())


def test_whoever_waits_gets_the_lease_next() -> None:
    mine = Leases(Path("locks"))
    lease = mine.take("cell")
    assert lease is not None
    got = threading.Event()
    waiting = threading.Thread(target=lambda: (Leases(Path("locks")).take("cell", wait=True), got.set()))
    waiting.start()
    assert not got.wait(0.3)
    lease.release()
    assert got.wait(30)


def test_the_lease_of_a_killed_process_is_free_at_once(owner: Callable[[], subprocess.Popen[str]]) -> None:
    process = owner()
    assert Leases(Path("locks")).take("cell") is None
    process.kill()
    process.wait()
    assert Leases(Path("locks")).take("cell") is not None


def test_a_store_sweeps_the_leases_of_dead_processes_and_of_no_others(
    owner: Callable[[], subprocess.Popen[str]],
) -> None:
    mine = Leases(Path("locks")).take("mine")
    process = owner()
    Store(".").prepare()
    assert {path.name for path in Path("locks").iterdir()} == {"mine.lease", "cell.lease"}
    process.kill()
    process.wait()
    Store(".").prepare()
    assert {path.name for path in Path("locks").iterdir()} == {"mine.lease"}
    assert mine is not None
    assert not mine.lost


def test_a_process_that_sleeps_too_long_loses_its_lease_and_knows_it(
    owner: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 1.5)
    process = owner()
    process.send_signal(signal.SIGSTOP)
    lease = Leases(Path("locks")).take("cell", wait=True)
    assert lease is not None
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate("go on\n", timeout=60)
    assert out == "True\n"
    assert not lease.lost


def test_names_of_any_length_are_different_leases() -> None:
    found = Leases(Path("locks"))
    held = [found.take("x" * 300), found.take("x" * 301)]
    assert all(held)
    assert found.take("x" * 300) is None


def test_a_store_publishes_nothing_of_a_cell_that_another_process_has_taken_over() -> None:
    record = record_of("ce")
    store, other = Store("results"), Store("results")
    assert store.try_lock(record.id) is not None
    (Path("results/locks") / f"{record.id}.lease").unlink()  # as if it had expired
    taken = other.try_lock(record.id)
    assert taken is not None
    with pytest.raises(Lost, match="another process took it over"):
        store.add(record)
    with pytest.raises(Lost, match="another process took it over"):
        store.write_arrays(record.id, {})
    other.add(record)
    taken.release()
    assert len(store.attempts()) == 1
