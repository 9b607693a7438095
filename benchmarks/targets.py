"""What is wanted of a GPU, and whether a report of ``gpu_check`` shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SUITE_RUNS, RUN_STEPS, RUN_EVALUATIONS = 108, 17_000, 20
"""Twelve methods at three ratios and three seeds; CIFAR-100-LT at ratio 100 for 200 epochs, evaluated every tenth."""

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A figure with what it must and what it should reach; ``found`` reads it from a report, None where it is not."""

    name: str
    must: float
    aim: float
    found: Callable[[Report], float | None]
    more_is_better: bool = False

    def row(self, report: Report) -> dict[str, Any]:
        """Name, bounds, figure and verdict: ``aim``, ``must``, ``missed`` or ``not measured``."""
        value = self.found(report)
        row = {"target": self.name, "must": self.must, "aim": self.aim, "measured": value}
        if value is None:
            return row | {"met": "not measured"}
        sign = 1 if self.more_is_better else -1
        reached = [name for name, bound in (("aim", self.aim), ("must", self.must)) if sign * value >= sign * bound]
        return row | {"met": reached[0] if reached else "missed"}


def _step(report: Report, tier: str) -> float | None:
    rows = report.get("step_times", [])
    return next((r["ms_per_step"] for r in rows if (r["precision"], r["ran"]) == ("fp32", tier)), None)


def _speeds(report: Report) -> dict[int, float]:
    """Steps a second of all runs together, of captured ones, by their number."""
    return {r["runs"]: r["steps_per_second"] for r in report.get("together", []) if r["ran"] == ["graph"]}


def graph_over_eager(report: Report) -> float | None:
    """How many times as fast a captured step is."""
    eager, graph = _step(report, "eager"), _step(report, "graph")
    return eager / graph if eager and graph else None


def together_over_alone(report: Report) -> float | None:
    """The best number of runs at once, over one."""
    speeds = _speeds(report)
    return max(speeds.values()) / speeds[1] if len(speeds) > 1 and 1 in speeds else None


def run_seconds(report: Report) -> float | None:
    """The whole recipe once, where it was the whole recipe and evaluated often enough."""
    run = report.get("long_run", {})
    whole = run.get("epochs") == 200 and run.get("evaluations", 0) >= RUN_EVALUATIONS and run.get("tier") != "eager"
    return float(run["seconds"]) if whole else None


def run_gigabytes(report: Report) -> float | None:
    """Peak memory of one run on a GPU."""
    peak = report.get("long_run", {}).get("peak_memory_bytes")
    return None if peak is None else float(peak) / 1e9


def suite_minutes(report: Report) -> float | None:
    """Extrapolated: all steps at the best speed together, and all evaluations one after another."""
    speeds, evaluation = _speeds(report), report.get("evaluation_seconds")
    if not speeds or evaluation is None:
        return None
    return SUITE_RUNS * (RUN_STEPS / max(speeds.values()) + RUN_EVALUATIONS * float(evaluation)) / 60


TARGETS = (
    Target("captured step over eager, times as fast", 3, 5, graph_over_eager, more_is_better=True),
    Target("runs together over one captured run, times as fast", 1.5, 2.5, together_over_alone, more_is_better=True),
    Target("CIFAR-100-LT, 200 epochs, 20 evaluations, captured, s", 30, 16, run_seconds),
    Target("peak memory of one run, GB", 1, 0.4, run_gigabytes),
    Target("suite of 108 plain runs, extrapolated, min", 45, 20, suite_minutes),
)


def verdicts(report: Report) -> list[dict[str, Any]]:
    """One row a target."""
    return [target.row(report) for target in TARGETS]
