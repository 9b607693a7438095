"""``--executor ray`` where Ray is not there, or a worker dies; `tests/runner/test_on_ray.py` kills a node."""

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST
from tests.reliability.attack import Attack, fault
from tests.reliability.test_methods_that_misbehave import plant

RUN = ("run", *FAST[:-2], "--methods", "mine,ce", "--executor", "ray", "--workers", "2")


@fault("Ray", "Ray is not installed")
def test_ray_is_not_installed(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltbench.runner.options.find_spec", lambda name: None)
    answer = attack("run", *FAST, "--methods", "ce", "--executor", "ray")
    attack.shown(answer, 2, "--executor ray needs Ray; install it with pip install 'ltbench[ray]'")


@pytest.mark.slow
@fault("Ray", "RAY_ADDRESS names a place where nothing answers")
def test_a_cluster_that_does_not_answer(attack: Attack) -> None:
    answer = attack.process("run", *FAST, "--methods", "ce", "--executor", "ray", RAY_ADDRESS="127.0.0.1:9")
    attack.shown(answer, 2, "RAY_ADDRESS=127.0.0.1:9: there is no Ray cluster")


@pytest.mark.slow
@fault("Ray", "RAY_ADDRESS names a server of Ray's client")
def test_the_client_of_ray(attack: Attack) -> None:
    answer = attack.process("run", *FAST, "--methods", "ce", "--executor", "ray", RAY_ADDRESS="ray://127.0.0.1:9")
    attack.shown(answer, 2, "Ray's client is not supported; run on a node of the cluster")


@pytest.mark.slow
@fault("Ray", "a worker of Ray is killed once in a cell")
def test_a_worker_of_ray_that_is_killed_once(attack: Attack) -> None:
    plant(
        "import os, pathlib; p = pathlib.Path('results/once')\n"
        "        if not p.exists(): p.touch(); os.kill(os.getpid(), 9)"
    )
    attack.shown(attack.process(*RUN, RAY_ADDRESS=""), 0, "queued again (1 of 2)")
    assert len(Store("results").attempts()) == 2


@pytest.mark.slow
@fault("Ray", "a worker of Ray is killed each time")
def test_a_worker_of_ray_that_is_killed_each_time(attack: Attack) -> None:
    plant("import os; os.kill(os.getpid(), 9)")
    answer = attack.process(*RUN, RAY_ADDRESS="")
    assert "queued again (2 of 2)" in answer.err
    attack.shown(answer, 1, "3 times")
    assert {record.method: record.status for record in Store("results").latest().values()} == {
        "mine": "failed",
        "ce": "done",
    }
