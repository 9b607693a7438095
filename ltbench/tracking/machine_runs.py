"""The runs of the machine: one for each time that a suite ran with system metrics switched on."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ltbench.results.files import read_whole
from ltbench.results.store import Store
from ltbench.tracking.address import EXPERIMENT
from ltbench.tracking.machine import FOLDER
from ltbench.tracking.runs import SOURCE, Experiment, Point, Run

METRIC = "system/cpu_utilization_percentage"
NOTE = (
    "Load of the machine while suites ran (MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING), from the results folder. The tab "
    "System metrics of a run has the curves."
)
SAMPLE = TypeAdapter(dict[str, int | float])
COMPLETE_S = 60.0
"""A file without a sample for so long is complete."""


def machine_experiments(store: Store, growing: bool = True) -> Iterator[Experiment]:
    """The experiment of the machine, if anything was sampled.

    Args:
        store: the results.
        growing: whether files that still grow count: the run of such a file would be replaced with every sample.
    """
    now = time.time()
    files = sorted((store.root / FOLDER).glob("*.jsonl"))
    runs = [_run(path) for path in files if growing or now - path.stat().st_mtime > COMPLETE_S]
    if found := tuple(run for run in runs if run is not None):
        name = os.environ.get(EXPERIMENT)
        yield Experiment(f"{name} system metrics" if name else "system metrics", NOTE, METRIC, found, {})


def _run(path: Path) -> Run | None:
    """The run of a file; None where it has no sample."""
    samples = list(_samples(path))
    if not samples:
        return None
    start, end = samples[0]["time"], samples[-1]["time"]
    curves = [
        Point(f"system/{name}", float(value), (sample["time"] - start) // 1000, sample["time"])
        for sample in samples
        for name, value in sample.items()
        if name != "time"
    ]
    last = {point.metric: point.value for point in curves}
    return Run(
        kind="machine",
        key=path.stem,
        name=path.stem,
        params={"machine": path.stem.rpartition("-")[0]},
        tags=dict(SOURCE),
        metrics=last,
        curves=tuple(curves),
        times=(start, end),
    )


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a file, up to a line that is none: the last one is incomplete where the process was killed."""
    for line in read_whole(path).splitlines():
        try:
            sample = SAMPLE.validate_json(line)
            yield sample | {"time": int(sample["time"])}
        except (ValueError, KeyError, OverflowError):
            return
