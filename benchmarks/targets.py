"""Targets for a GPU, and whether the rows of ``gpu_check`` reach them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gpu_defaults import ms, ratio
from benchmarks.gpu_report import Row, of

RATIOS, SUITE_METHODS, SUITE_SEEDS, RUN_EVALUATIONS, EPOCHS = (85, 99, 153), 12, 3, 20, 200
"""CIFAR-100-LT: steps of an epoch at imbalance 100, 50 and 10; a run is evaluated every tenth epoch."""


@dataclass(frozen=True)
class Target:
    """A figure with what it must and what it should reach; ``found`` reads it from the rows, None where it is not."""

    name: str
    must: float
    aim: float
    found: Callable[[Sequence[Row]], float | None]
    more_is_better: bool = False

    def row(self, rows: Sequence[Row]) -> Row:
        """Name, bounds, figure and verdict: ``aim``, ``must``, ``missed`` or ``not measured``."""
        value = self.found(rows)
        row = {"target": self.name, "must": self.must, "aim": self.aim, "measured": value}
        if value is None:
            return row | {"met": "not measured"}
        sign = 1 if self.more_is_better else -1
        reached = [name for name, bound in (("aim", self.aim), ("must", self.must)) if sign * value >= sign * bound]
        return row | {"met": reached[0] if reached else "missed"}


def _speeds(rows: Sequence[Row]) -> dict[int, float]:
    """Steps a second of all runs together, of captured ones, by their number."""
    return {row["runs"]: row["steps_per_second"] for row in of(rows, "together") if row["ran"] == ["graph"]}


def graph_over_eager(rows: Sequence[Row]) -> float | None:
    """How many times as fast a captured step is."""
    return ratio(ms(rows, "eager"), ms(rows, "graph"))


def together_over_alone(rows: Sequence[Row]) -> float | None:
    """The best number of runs at once, over one."""
    speeds = _speeds(rows)
    return max(speeds.values()) / speeds[1] if len(speeds) > 1 and 1 in speeds else None


def _whole_run(rows: Sequence[Row]) -> Row:
    return next(iter(of(rows, "long_run")), {})


def run_seconds(rows: Sequence[Row]) -> float | None:
    """The whole recipe once, where it was the whole recipe and evaluated often enough."""
    run = _whole_run(rows)
    whole = run.get("epochs") == EPOCHS and run.get("evaluations", 0) >= RUN_EVALUATIONS and run.get("ran") != "eager"
    return float(run["seconds"]) if whole else None


def run_gigabytes(rows: Sequence[Row]) -> float | None:
    """Peak memory of one run on a GPU."""
    peak = _whole_run(rows).get("peak_memory_bytes")
    return None if peak is None else float(peak) / 1e9


def method_factor(rows: Sequence[Row]) -> float | None:
    """Captured step of a method relative to plain training, the mean of all methods measured."""
    steps = {row["method"]: row["graph_ms"] for row in of(rows, "methods") if row.get("graph_ms")}
    return statistics.mean(value / steps["ce"] for value in steps.values()) if "ce" in steps else None


def suite_minutes(rows: Sequence[Row]) -> float | None:
    """Projected: the steps of every ratio at the best speed together, times the mean cost of a method's step, and all
    evaluations one after another."""
    speeds, factor = _speeds(rows), method_factor(rows)
    evaluation = next((row["seconds"] for row in of(rows, "evaluation")), None)
    if not speeds or evaluation is None or factor is None:
        return None
    steps = SUITE_METHODS * SUITE_SEEDS * EPOCHS * sum(RATIOS)
    runs = SUITE_METHODS * SUITE_SEEDS * len(RATIOS)
    return float(steps * factor / max(speeds.values()) + runs * RUN_EVALUATIONS * evaluation) / 60


TARGETS = (
    Target("captured step over eager, times as fast", 3, 5, graph_over_eager, more_is_better=True),
    Target("runs together over one captured run, times as fast", 1.5, 2.5, together_over_alone, more_is_better=True),
    Target("CIFAR-100-LT, 200 epochs, 20 evaluations, captured, s", 30, 10, run_seconds),
    Target("peak memory of one run, GB", 1, 0.4, run_gigabytes),
    Target("suite of 108 runs, projected, min", 45, 10, suite_minutes),
)


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """One row a target."""
    return [target.row(rows) for target in TARGETS]
