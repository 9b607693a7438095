"""``--executor ray``: the numbers of a serial run, whatever happens to a node; and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltbench.errors import InputError
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.crew import Assignment
from ltbench.runner.on_ray import _Actor, fitted
from ltbench.runner.options import RunOptions
from tests.conftest import MINE, Answer, numbers

Cli = Callable[..., Answer]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300
SMALL = ("--imbalance", "20", "--seeds", "2", "--set", "recipe.epochs=4", "--checkpoint-every", "0")
METHODS = ("--methods", "ce,crt,focal,mine")


def started(*words: str, **environment: str) -> subprocess.Popen[str]:
    """``ltbench`` in a process and a session of its own."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "ltbench", *words]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(running: subprocess.Popen[str]) -> Answer:
    out, err = running.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return Answer(running.returncode, out, err)


def ray_processes(folder: str) -> list[str]:
    """The command lines and environments that name a folder of Ray, of processes that still live."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if folder.encode() in text and int(process.name) != os.getpid():
            found.append(f"{process.name} {text.decode(errors='replace')[:200]}")
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    assert condition()


def wait_until_gone(folder: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while (left := ray_processes(folder)) and time.monotonic() < until:
        time.sleep(0.5)
    assert not left
    shutil.rmtree(folder)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A cluster of two nodes on this machine, with a CPU each: its address, and a function that kills one node."""
    folder = tempfile.mkdtemp(prefix="ltray-")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    (Path(folder) / "ray").mkdir()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "temp_dir": folder, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        other = cluster.add_node(num_cpus=1, object_store_memory=100 << 20, temp_dir=folder)
        cluster.wait_for_nodes(timeout=PATIENCE_S)
        yield cluster.address, lambda: cluster.remove_node(other, allow_graceful=False)
    finally:
        cluster.shutdown()
        wait_until_gone(folder)


@pytest.fixture
def serial(ltbench: Cli) -> Store:
    """The results of one process, and the methods of this folder."""
    Path("methods").mkdir()
    waits = "import time, pathlib; pathlib.Path(f'begun-{__import__(\"os\").getpid()}').touch(); time.sleep(0.05)"
    Path("methods/mine.py").write_text(MINE.replace("        return", f"        {waits}\n        return"))
    assert ltbench("run", *SMALL, *METHODS, "--workers", "1", "--results", "serial").status == 0
    for file in Path().glob("begun-*"):
        file.unlink()
    return Store("serial")


def assert_equal(found: Store, expected: Store) -> None:
    assert len(found.attempts()) == len(expected.attempts())
    records = expected.latest()
    for cell, record in found.latest().items():
        assert numbers(record) == numbers(records[cell])
        ours, theirs = found.arrays(record), expected.arrays(records[cell])
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_nodes_give_the_numbers_of_a_serial_run(serial: Store, two_nodes: tuple[str, Any]) -> None:
    answer = ended(started("run", *SMALL, *METHODS, "--executor", "ray", "--results", "ray", RAY_ADDRESS=two_nodes[0]))
    assert answer.status == 0, answer.err
    assert "[8/8]" in answer.err
    assert_equal(Store("ray"), serial)
    assert len(list(Path().glob("begun-*"))) == 2  # both nodes trained cells
    assert not list(Path("ray").glob(".*"))


@pytest.mark.slow
def test_a_node_that_is_killed_in_the_middle_changes_nothing_but_the_time(
    serial: Store, two_nodes: tuple[str, Any]
) -> None:
    address, kill = two_nodes
    running = started("run", *SMALL, *METHODS, "--executor", "ray", "--results", "ray", RAY_ADDRESS=address)
    wait_until(lambda: len(list(Path().glob("begun-*"))) == 2)
    kill()
    answer = ended(running)
    assert answer.status == 0, answer.err
    assert "queued again (1 of 2)" in answer.err
    assert_equal(Store("ray"), serial)


@pytest.mark.slow
def test_trials_are_trained_on_ray(two_nodes: tuple[str, Any]) -> None:
    words = ("--methods", "ce", "--trials", "3", "--imbalance", "20", "--set", "recipe.epochs=1", "--json")
    answer = ended(started("tune", *words, "--executor", "ray", RAY_ADDRESS=two_nodes[0]))
    assert answer.status == 0, answer.err
    (study,) = json.loads(answer.out)
    assert [trial["state"] for trial in study["trials"]] == ["complete"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_ray_outlives_an_interrupted_run(how: signal.Signals, tmp_path: Path) -> None:
    Path("methods").mkdir()
    waits = "        import time, pathlib; pathlib.Path('begun').touch(); time.sleep(0.2)\n        return"
    Path("methods/mine.py").write_text(MINE.replace("        return", waits))
    folder = tempfile.mkdtemp(prefix="ltray-")
    running = started("run", *SMALL, "--methods", "mine", "--executor", "ray", TMPDIR=folder, RAY_ADDRESS="")
    wait_until(Path("begun").exists)
    assert ray_processes(folder)
    running.send_signal(how)
    out, err = running.communicate(timeout=PATIENCE_S)
    if how != signal.SIGKILL:
        assert running.returncode == 130, err
        assert "ltbench: interrupted; finished cells are kept" in err
        assert not list(Path(folder).iterdir())
    wait_until_gone(folder)


@pytest.mark.slow
def test_a_node_without_the_folders_or_with_other_code_is_refused_in_one_line(tmp_path: Path) -> None:
    assignment = Assignment(Request(methods=("ce",)), frozenset(["0" * 16]), {})

    def answer(root: Path, work: Path, mark: str = "here") -> str:
        actor = _Actor(root, work, mark, RunOptions(device="cpu"), {})
        with pytest.raises(InputError) as error:
            list(actor.train(assignment, {}))
        return str(error.value)

    Path("here").touch()
    assert f"does not see the results folder {tmp_path / 'none'}" in answer(tmp_path / "none", Path.cwd())
    assert f"does not see the results folder {Path.cwd()}" in answer(Path.cwd(), Path.cwd(), "another")
    assert f"does not see the working folder {tmp_path / 'none'}" in answer(Path.cwd(), tmp_path / "none")
    assert "has other code, methods or images than this machine: 1 of 1 cells" in answer(Path.cwd(), Path.cwd())


CPUS, GPUS = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("options", "nodes", "device", "workers", "needs"),
    [
        ({}, [CPUS, CPUS], "cpu", 16, {"num_cpus": 1}),
        ({"threads": 3}, [CPUS, CPUS], "cpu", 4, {"num_cpus": 3}),
        ({"workers": 2}, [CPUS], "cpu", 2, {"num_cpus": 1}),
        ({}, [CPUS, GPUS, GPUS], "cuda", 8, {"num_cpus": 1, "num_gpus": 1}),
        ({"device": "cpu"}, [GPUS], "cpu", 16, {"num_cpus": 1}),
        ({"workers": 3}, [GPUS], "cuda", 3, {"num_cpus": 1, "num_gpus": 1}),
        ({"workers": 8}, [GPUS], "cuda", 8, {"num_cpus": 1, "num_gpus": 0.5}),
        ({"workers": 9}, [GPUS], "cuda", 9, {"num_cpus": 1, "num_gpus": 1 / 3}),
        ({"threads": 8}, [GPUS], "cuda", 2, {"num_cpus": 8, "num_gpus": 1}),
    ],
)
def test_workers_fill_the_nodes(
    options: dict[str, Any], nodes: list[dict[str, float]], device: str, workers: int, needs: dict[str, float]
) -> None:
    found, resources = fitted(RunOptions(executor="ray", **options), nodes)
    assert (found.device, found.workers, resources) == (device, workers, needs)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cuda"}, "the Ray cluster has no GPU; use --device cpu"),
        ({"tier": "graph"}, "tier 'graph' needs a CUDA device"),
        ({"threads": 9}, "no node of the Ray cluster has 9 CPUs for a worker"),
    ],
)
def test_what_a_cluster_lacks_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        fitted(RunOptions(executor="ray", **options), [CPUS])


def test_ray_refuses_a_single_gpu_and_says_how_to_install_it(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("run", "--methods", "ce", "--dry-run", "--executor", "ray")
    answer = ltbench(*words, "--device", "cuda:1")
    assert (answer.status, "chosen by Ray" in answer.err) == (2, True)
    monkeypatch.setattr("ltbench.runner.options.find_spec", lambda name: None)
    answer = ltbench(*words)
    assert (answer.status, "pip install 'ltbench[ray]'" in answer.err) == (2, True)
