"""Trains a finished cell again, by the command in its record, and compares every number."""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ltbench.errors import InputError
from ltbench.plan.repeat import request_of
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.environment import environment


def not_repeatable_here(record: Record) -> str:
    """Why this machine cannot repeat a record bit for bit; empty where it can."""
    result = record.finished
    device = torch.device(result.environment.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        return f"it was trained on {result.environment.device_name}"
    here = environment(device, result.environment.threads).rounding
    other = [where for where in result.roundings if where != here]
    return f"it was trained on {other[0]}; here is {here}" if other else ""


def retrain(record: Record, store: Store, methods_dirs: Sequence[Path] = ()) -> list[str]:
    """Train a cell again in a process and a results folder of its own.

    Args:
        record: of the finished cell, which this machine can repeat.
        store: where the record is; its studies are used for a tuned cell.
        methods_dirs: folders with method files, besides ``./methods``.

    Returns:
        What differs, one line each; empty where every number is equal in every bit.
    """
    try:
        request_of(record.command, trusted=methods_dirs)
    except InputError as error:
        return [str(error)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        studies = Path("tuning", "studies")
        if (store.root / studies).is_dir():
            shutil.copytree(store.root / studies, root / studies)
        words = [*shlex.split(record.command)[1:], "--results", str(root), "--no-tracking", "--workers", "1"]
        answer = subprocess.run([sys.executable, "-m", "ltbench", *words], capture_output=True, text=True)
        again = Store(root).latest().get(record.id)
        if again is None or again.result is None:
            why = (again.reason if again else None) or (answer.stderr.strip().splitlines() or ["no output"])[-1]
            return [f"training again gave no result: {why}"]
        names = ("protocols", "losses", "evaluations", "arrays")
        differ = [name for name in names if getattr(record.finished, name) != getattr(again.result, name)]
        return [f"training again gave other {', '.join(differ)}"] if differ else []
