"""Several processes on one results folder: without file locks, asleep for too long, gone, or with damaged leases."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import SoftFileLease

from ltbench.results import leases
from ltbench.results.store import Store
from tests.conftest import FAST, MINE
from tests.reliability.attack import Attack, ended, fault

RUN = ("run", *FAST, "--methods", "ce")
NO_LOCKS = """
import fcntl
fcntl.flock = fcntl.lockf = lambda *words: None  # locks that always succeed
from ltbench.results import leases
leases.LEASE_S = {lease_s}
"""


@pytest.mark.slow
@fault("Shared folder", "three processes at once, where file locks do nothing")
def test_several_processes_share_the_work_where_file_locks_do_nothing(attack: Attack) -> None:
    words = ("run", *FAST, "--methods", "ce,crt,focal,class_balanced_sampling")
    running = [attack.started(*words, before=NO_LOCKS.format(lease_s=120.0)) for _ in range(3)]
    for process in running:
        attack.shown(ended(process), 0, "crt")
    store = Store("results")
    assert len(store.attempts()) == len(store.latest()) == 4
    trained = [stage for record in store.latest().values() for stage in record.finished.stages if not stage.reused]
    assert len(trained) == len(list(Path("results/stages").glob("*.pt"))) == 4


@pytest.mark.slow
@fault("Shared folder", "a process is asleep until its lease has expired, and wakes up: trained twice, published once")
def test_a_process_that_slept_through_its_lease_trains_twice_but_publishes_once(attack: Attack) -> None:
    Path("methods").mkdir()
    note = "import time, pathlib; pathlib.Path(f'begun-{__import__(\"os\").getpid()}').touch(); time.sleep(0.05)"
    Path("methods/mine.py").write_text(MINE.replace("        return", f"        {note}\n        return"))
    words = ("run", *FAST, "--methods", "mine")
    first = attack.started(*words, before=NO_LOCKS.format(lease_s=5.0))
    while not list(Path().glob("begun-*")):
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)
    second = ended(attack.started(*words, before=NO_LOCKS.format(lease_s=5.0)))
    assert second.status == 0, second.err
    first.send_signal(signal.SIGCONT)
    attack.shown(ended(first), 0, "its lock expired while this process slept, and another process took it over")
    assert len(list(Path().glob("begun-*"))) == 2
    assert len(Store("results").attempts()) == 1


def lease_of(attack: Attack) -> Path:
    """The lease of the only cell of the run."""
    (cell,) = json.loads(attack(*RUN, "--dry-run", "--json").out)
    Path("results/locks").mkdir(parents=True)
    return Path(f"results/locks/{cell['id']}.lease")


def marker(path: Path, host: str = "gone", duration_s: float = leases.LEASE_S) -> None:
    """Write the lease of a process of another machine, which renews it no more."""
    mine = SoftFileLease(path, lease_duration=duration_s)
    mine.acquire()
    content = path.read_text()
    mine.release()
    path.write_text("\n".join(f"host={host}" if line.startswith("host=") else line for line in content.split("\n")))


@pytest.mark.slow
@fault("Shared folder", "a lease of a machine that is gone")
def test_a_lease_of_a_machine_that_is_gone(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 2.0)
    marker(lease_of(attack), duration_s=2.0)
    began = time.monotonic()
    attack.shown(attack(*RUN), 0, "ce")
    assert time.monotonic() - began > 2


@pytest.mark.slow
@fault("Shared folder", "a lease that was cut")
def test_a_lease_that_was_cut(attack: Attack) -> None:
    path = lease_of(attack)
    marker(path)
    path.write_bytes(path.read_bytes()[:20] + b"\xff")
    attack.shown(attack(*RUN), 0, "ce")
    assert not path.exists()


@pytest.mark.slow
@fault("Shared folder", "an empty lease, of a process that was killed while it made it")
def test_an_empty_lease(attack: Attack) -> None:
    path = lease_of(attack)
    path.touch()
    os.utime(path, (time.time() - 1.1 * leases.LEASE_S,) * 2)
    attack.shown(attack(*RUN), 0, "ce")
    assert not path.exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
@fault("Shared folder", "a folder or a pipe in place of a lease")
def test_what_is_no_file_in_place_of_a_lease(attack: Attack, make: Callable[[Path], None]) -> None:
    make(lease_of(attack))
    attack.shown(attack(*RUN), 2, ".lease is not a file; remove it")


@fault("Shared folder", "a lease for another time, as of another version")
def test_a_lease_for_another_time(attack: Attack) -> None:
    marker(lease_of(attack), duration_s=1e9)
    attack.shown(attack(*RUN), 2, "is of another version of ltbench, or damaged; remove it where no process uses it")


@pytest.mark.slow
@fault("Shared folder", "a pipe in place of a lease, with two workers")
def test_what_ends_a_worker_ends_the_run_with_one_line(attack: Attack) -> None:
    os.mkfifo(lease_of(attack))
    answer = attack("run", *FAST[:-1], "2", "--methods", "ce,focal")
    attack.shown(answer, 2, ".lease is not a file; remove it")
