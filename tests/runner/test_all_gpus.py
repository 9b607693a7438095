"""``--device all``: one worker for each GPU of a machine."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ltbench.errors import InputError
from ltbench.plan.expand import Library
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.processes import Processes
from tests.conftest import Answer

ROOT = Path(__file__).resolve().parents[2]
PRETEND = """
import torch
from ltbench.check.pretended import pretended

ON = pretended()
ON.__enter__()
torch.cuda.device_count = lambda: 2
"""


def on(gpus: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> RunOptions:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    return RunOptions(device="all", **options).resolved([])


def test_there_are_as_many_workers_as_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    found = on(4, monkeypatch, runs_per_device=2, tier="graph")
    assert (found.device, found.workers, found.runs_per_device) == ("all", 4, 2)
    alone = on(1, monkeypatch)
    assert (alone.device, alone.workers) == ("cuda:0", 1)


def test_without_a_gpu_one_line_says_so(ltbench: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    answer = ltbench("run", "--methods", "ce", "--device", "all", "--dry-run")
    assert answer.status == 2
    assert "device 'all' is every GPU of this machine, and PyTorch sees none; use --device cpu" in answer.err
    with pytest.raises(InputError, match="remove --workers"):
        on(2, monkeypatch, workers=4)


def test_each_worker_has_a_gpu_of_its_own_and_a_new_one_takes_the_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Processes(Store("results"), on(3, monkeypatch), Library())
    started: list[str] = []

    def process(target: Any, args: tuple[Any, ...], daemon: bool) -> SimpleNamespace:
        started.append(args[2].device)
        nothing = dict.fromkeys(("start", "join", "terminate"), lambda: None)
        return SimpleNamespace(**nothing, exitcode=-9)

    monkeypatch.setattr(crew.context, "Process", process)
    workers = [crew.start() for _ in range(3)]
    assert started == ["cuda:0", "cuda:1", "cuda:2"]
    crew.dismiss(workers[1])
    crew.start()
    assert started[-1] == "cuda:1"
    crew.end()


@pytest.mark.slow
def test_two_pretended_gpus_train_the_cells_of_a_suite() -> None:
    Path("start").mkdir()
    Path("start/sitecustomize.py").write_text(PRETEND)  # every process begins with it
    words = ("run", "--methods", "ce", "--imbalance", "20,10", "--seeds", "2", "--set", "recipe.epochs=1")
    path = os.pathsep.join(filter(None, (str(Path("start").resolve()), str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "ltbench", *words, "--device", "all", "--no-tracking"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=600)
    assert done.returncode == 0, done.stderr
    records = Store("results").latest().values()
    assert {record.command.partition("--device ")[2].split()[0] for record in records} == {"cuda:0", "cuda:1"}
