"""The speed part of a night: the quick benchmarks, as ratios to the plain loop of the same run.

The file of limits has, for each machine and benchmark, the ratios of several runs of the same code, their mean and the
limits that follow from their spread.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from scipy.special import stdtrit

from ltbench.errors import InputError, one_line
from ltbench.nightly.baseline import CHECKOUT
from ltbench.nightly.learning import ALPHA
from ltbench.results.files import write_whole
from ltbench.results.record import Environment
from ltbench.results.statistics import moderated

RUNS = 5
"""Runs of the same code whose spread gives the limits."""
ROUNDS = 9
LEAST = 1.05
"""A smaller change of a ratio is never an alarm."""
FILE = "benchmarks/test_nightly.py"

Pace = Literal["as before", "slower", "faster", "failed", "new"]
ALARMS: tuple[Pace, ...] = ("slower", "failed")


@dataclass(frozen=True)
class Speed:
    """A benchmark in a night.

    Attributes:
        name: of the benchmark.
        ratio: its median time over that of the plain loop, measured in turn; None where it failed.
        usual: ratio of the baseline; None where the baseline lacks it, or was measured on another machine.
        limit: the ratio above which it is slower.
        pace: the verdict.
    """

    name: str
    ratio: float | None
    usual: float | None
    limit: float | None
    pace: Pace

    def __str__(self) -> str:
        if self.ratio is None or self.usual is None:
            return f"{self.name} {self.pace}"
        return f"{self.name} {self.pace}: {self.ratio / self.usual:.2f} times as long as in the baseline"


def check_installed() -> None:
    """Raise InputError where the benchmarks cannot be run."""
    if not (CHECKOUT / FILE).is_file():
        raise InputError(
            f"speed cannot be measured: there is no {FILE} beside {CHECKOUT / 'ltbench'}, since an installed package "
            "has no benchmarks; run in a checkout of ltbench, or add --no-speed"
        )
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise InputError(
            "speed cannot be measured without pytest-benchmark; run pip install -e '.[dev]', or add --no-speed"
        )


def machine(where: Environment) -> str:
    """The machine that a speed belongs to: processor or GPU, and cores."""
    return f"{where.device_name}, {os.cpu_count()} cores"


def measure(device: str, only: Collection[str] = ()) -> dict[str, float | None]:
    """Run the quick benchmarks in a process of their own.

    Args:
        device: where to measure.
        only: names of benchmarks; empty: all.

    Returns:
        The ratio of each benchmark by name; None where it failed. ``benchmarks``: None where none could be run.
    """
    with tempfile.TemporaryDirectory() as place:
        found, ran = Path(place) / "benchmarks.json", Path(place) / "outcomes.xml"
        command = [sys.executable, "-m", "pytest", *([f"{FILE}::{name}" for name in sorted(only)] or [FILE])]
        command += [f"--benchmark-json={found}", f"--junitxml={ran}", "-p", "no:cacheprovider"]
        command += ["--rounds", str(ROUNDS), "--device", device]
        done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode not in (0, 1) or not ran.exists():
            print(done.stdout, file=sys.stderr)
            return {"benchmarks": None}
        cases = ElementTree.parse(ran).iter("testcase")
        ratios: dict[str, float | None] = {case.attrib["name"]: None for case in cases if case.find("skipped") is None}
        if found.exists() and (content := found.read_text()):
            ratios |= {one["name"]: one["extra_info"]["ratio"] for one in json.loads(content)["benchmarks"]}
    return ratios


def judge(ratios: Mapping[str, float | None], limits: Mapping[str, Any]) -> list[Speed]:
    """Compare the ratios of a night with the limits of its machine; benchmarks that are gone count as failed."""
    found = []
    for name in sorted(ratios.keys() | limits.keys()):
        ratio, limit = ratios.get(name), limits.get(name)
        pace: Pace = "failed" if ratio is None else "new" if limit is None else "as before"
        if ratio is not None and limit is not None:
            pace = "slower" if ratio > limit["most"] else "faster" if ratio < limit["least"] else "as before"
        found.append(Speed(name, ratio, limit and limit["usual"], limit and limit["most"], pace))
    return found


def confirmed(first: Sequence[Speed], device: str, limits: Mapping[str, Any]) -> list[Speed]:
    """Measure again what was slower: only what is slower twice is an alarm."""
    slower = [one.name for one in first if one.pace == "slower"]
    if not slower:
        return list(first)
    second = judge(measure(device, slower), {name: limits[name] for name in slower})
    again = {one.name: one for one in second}
    return [again.get(one.name, one) for one in first]


def limits_of(runs: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The limits that the spread of several runs of the same code gives.

    A prediction interval of one further run, on a logarithmic scale, with variances moderated over all benchmarks. All
    benchmarks of a night together are outside of it with the probability ``ALPHA`` at each end.

    Args:
        runs: the ratios of each benchmark, at least two.
    """
    logs = {name: np.log(values) for name, values in runs.items()}
    variances, freedom = moderated([x.var(ddof=1) for x in logs.values()], [len(x) - 1.0 for x in logs.values()])
    found = {}
    for (name, values), variance, f in zip(logs.items(), variances, freedom, strict=True):
        spread = stdtrit(f, 1 - ALPHA / len(runs)) * np.sqrt(variance * (1 + 1 / len(values)))
        width, middle = max(float(spread), float(np.log(LEAST))), float(values.mean())
        bounds = {"usual": middle, "most": middle + width, "least": middle - width}
        limits = {key: _short(float(np.exp(value))) for key, value in bounds.items()}
        found[name] = {**limits, "runs": [_short(float(value)) for value in runs[name]]}
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def read(path: Path) -> dict[str, Any]:
    """The limits of each machine; empty without a file.

    Raises:
        InputError: for a file without limits.
    """
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for limits in found.values():
            for name, one in limits.items():
                if not 0 < one["least"] <= one["usual"] <= one["most"]:
                    raise ValueError(f"the limits of {name} are in no order")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} has no limits ({one_line(error)}); restore the file, or remove it") from error
    return found


def write(path: Path, of: str, limits: Mapping[str, Any]) -> None:
    """Replace the limits of one machine."""
    write_whole(path, json.dumps(read(path) | {of: limits}, indent=1, sort_keys=True).encode() + b"\n")
