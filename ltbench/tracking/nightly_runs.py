"""The runs of `ltbench nightly`: one run a night, and one with every figure over all nights."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ltbench.nightly.night import nights
from ltbench.results.store import Store
from ltbench.tracking.runs import SOURCE, Experiment, Point, Run, milliseconds
from ltbench.tracking.views import View

NAME = "nightly"
METRIC = "fell"
NOTE = (
    "Made by `ltbench nightly` from its history. Runs of kind `night` have the balanced accuracy of each method in % "
    "and the ratio of each benchmark to the plain loop. The run of kind `history` has them as curves, a step a night."
)


def nightly_experiments(store: Store) -> Iterator[Experiment]:
    """The experiment of a folder of nights; none for another folder."""
    history = nights(store.root)
    if history:
        view = View("Nights", "tags.kind = 'night'", METRIC, ("metrics.fell", "params.revision", "params.machine"))
        yield Experiment(NAME, NOTE, METRIC, (_history(history), *map(_night, history)), {"nights": view})


def _metrics(night: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a night, under names that MLflow accepts."""
    named = {re.sub(r"[^\w\-. :/]+", ".", name).strip("."): value for name, value in night["figures"].items()}
    return named | {METRIC: float(len(night["fell"]))}


def _night(night: Mapping[str, Any]) -> Run:
    start = milliseconds(night["created"])
    return Run(
        kind="night",
        key=night["created"],
        name=night["folder"],
        params={"revision": str(night["revision"]), "machine": night["machine"]},
        tags={**SOURCE, "fell": "; ".join(night["fell"])[:5000]},
        metrics=_metrics(night),
        times=(start, start + round(1000 * night["seconds"])),
        status="FAILED" if night["fell"] else "FINISHED",
    )


def _history(history: list[dict[str, Any]]) -> Run:
    points = (Point(name, value, step) for step, night in enumerate(history) for name, value in _metrics(night).items())
    times = [milliseconds(night["created"]) for night in history]
    return Run(
        kind="history",
        key="history",
        name="all nights",
        params={},
        tags={**SOURCE},
        metrics=_metrics(history[-1]),
        curves=tuple(points),
        times=(times[0], times[-1]),
    )
