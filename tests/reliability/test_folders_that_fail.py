"""Results folders on disks that are full or read-only, and folders that are removed while a run uses them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST
from tests.reliability.attack import Attack, fault
from tests.reliability.test_methods_that_misbehave import plant

RUN = ("run", *FAST, "--no-tracking")
Disk = Callable[[str], None]


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Mounts a disk of its own on ``results``; called again, it changes its options, such as ``size=8k``."""
    mounted = []

    def mount(options: str) -> None:
        Path("results").mkdir(exist_ok=True)
        again = "remount," if mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}{options}", "tmpfs", "results"]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this user may not mount a disk")
        mounted.append(Path("results").absolute())

    yield mount
    for path in mounted[:1]:
        subprocess.run(["umount", "-l", str(path)], check=True)


def slow(*values: str) -> list[object]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("size", ["8k", *slow("4k", "16k", "48k", "200k")])
@fault("Disk", "a disk that is full after a few kB")
def test_a_full_disk(attack: Attack, disk: Disk, size: str) -> None:
    disk(f"size={size}")
    answer = attack(*RUN, "--methods", "ce,focal")
    attack.shown(answer, 1, "No space left on device")
    assert attack("status").status == 0
    disk("size=64m")
    assert attack(*RUN, "--methods", "ce,focal").status == 0
    assert {record.status for record in Store().latest().values()} == {"done"}


@pytest.mark.parametrize("inodes", ["9", *slow("2", "5", "12")])
@fault("Disk", "a disk without room for more files")
def test_a_disk_without_inodes(attack: Attack, disk: Disk, inodes: str) -> None:
    disk(f"nr_inodes={inodes}")
    attack.shown(attack(*RUN, "--methods", "ce,focal"), 1, "No space left on device")
    disk("nr_inodes=1000")
    assert attack(*RUN, "--methods", "ce,focal").status == 0


@fault("Disk", "a results folder that is read-only")
def test_a_read_only_folder(attack: Attack, disk: Disk) -> None:
    disk("size=64m")
    assert attack(*RUN, "--methods", "ce").status == 0
    disk("ro")
    attack.shown(
        attack(*RUN, "--methods", "focal"), 2, "results folder results cannot be written (Read-only file system)"
    )
    for words in (("status",), ("leaderboard",), ("verify",), ("classes", "ce"), ("clean",)):
        assert attack(*words).status == 0, words
    attack.shown(attack("sync"), 1, "Read-only file system")
    attack.shown(attack("report", "-o", "results/page.html"), 2, "cannot be written (Read-only file system)")


@fault("Disk", "the results folder is removed during a run")
def test_a_results_folder_that_is_removed(attack: Attack) -> None:
    plant("import shutil; shutil.rmtree('results', ignore_errors=True)")
    answer = attack(*RUN, "--methods", "ce,mine")
    attack.shown(answer, 1, "1 of 2 cells have no record: digits / 20 / ce / seed 0; repeat the command")


@fault("Disk", "the locks are removed during a run")
def test_locks_that_are_removed(attack: Attack) -> None:
    plant("import shutil; shutil.rmtree('results/locks', ignore_errors=True)")
    attack.shown(attack(*RUN, "--methods", "ce,mine,focal"), 0, "mine")
    assert len(Store().latest()) == 3
