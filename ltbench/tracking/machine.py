"""Samples of the machine while a suite runs, in files of the results folder: one JSON line a sample."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from ltbench.errors import InputError
from ltbench.results.store import Store

VARIABLE = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
INTERVAL_S = 10.0
FOLDER = "machine"


@contextmanager
def sampled(store: Store) -> Iterator[None]:
    """Sample the machine during the context, if ``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING`` asks for it.

    ``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`` sets the seconds between samples.

    Raises:
        InputError: when a package for it is missing, or the interval is no number.
    """
    if os.environ.get(VARIABLE, "").lower() not in ("1", "true"):
        yield
        return
    monitors, ended = _monitors(), threading.Event()
    interval = _interval()
    path = store.root / FOLDER / f"{socket.gethostname()}-{uuid4().hex[:8]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)

    def sample() -> None:
        with path.open("a", encoding="utf-8") as file:
            while True:
                file.write(json.dumps({"time": round(1000 * time.time()), **_sample(monitors)}) + "\n")
                file.flush()
                if ended.wait(interval):
                    return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _interval() -> float:
    given = os.environ.get(INTERVAL) or str(INTERVAL_S)
    try:
        return float(given)
    except ValueError:
        raise InputError(f"{INTERVAL}={given} is not a number of seconds", given) from None


def _monitors() -> list[Any]:
    """MLflow's own monitors: of CPU and memory and, where there is one, of the GPUs."""
    try:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    except ImportError as error:
        raise InputError(f"{VARIABLE} needs psutil; install it with pip install 'ltbench[system]'", "psutil") from error
    kinds: list[Callable[[], Any]] = [CPUMonitor, GPUMonitor]
    found = [kinds[0]()]
    with suppress(ImportError, RuntimeError):  # no GPU, or no package for it
        found.append(kinds[1]())
    return found


def _sample(monitors: list[Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for monitor in monitors:
        monitor.clear_metrics()
        monitor.collect_metrics()
        found |= monitor.aggregate_metrics()
    return found
