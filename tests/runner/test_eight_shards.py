"""Eight ``--shard`` processes on one results folder, two of them killed: all cells once, no stage trained twice."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ltbench.results.store import Store

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900
METHODS = "ce,crt,lws,focal,ldam,class_balanced_sampling,balanced_softmax"
WORDS = ("--methods", METHODS, "--imbalance", "20", "--seeds", "2", "--set", "recipe.epochs=3", "--workers", "1")


def started(part: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ltbench", "run", *WORDS, "--no-tracking", "--shard", f"{part}/8"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_of_eight_shards_are_killed_and_started_again() -> None:
    running = {part: started(part) for part in range(1, 9)}
    until = time.monotonic() + PATIENCE_S
    while not list(Path("results/records").glob("*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    for part in (1, 2):
        running[part].kill()
        running[part].communicate()
        running[part] = started(part)
    for part, process in running.items():
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, (part, err)
    store = Store("results")
    assert len(store.attempts()) == len(store.latest()) == 14
    trained = [
        (record.seed, stage.method, stage.stage)
        for record in store.latest().values()
        for stage in record.finished.stages
        if not stage.reused
    ]
    assert len(set(trained)) == len(trained)
    stages = list(Path("results/stages").glob("*.pt"))
    assert 14 - 2 <= len(trained) <= len(stages) == 14  # either kill may come between a stage and its record
    assert not list(Path("results/locks").iterdir())
