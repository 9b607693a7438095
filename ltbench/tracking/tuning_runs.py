"""The runs of tuning: one run a study and one a trial, in experiments of their own."""

import json
import os
from collections.abc import Iterator

from ltbench.method.entries import parse_entry
from ltbench.results.store import Store
from ltbench.tracking.address import EXPERIMENT
from ltbench.tracking.runs import SOURCE, Experiment, Point, Run
from ltbench.tracking.views import View
from ltbench.tuning.journal import studies
from ltbench.tuning.study import Study, as_record

METRIC = "val/balanced_accuracy"
PLACE = ("dataset", "imbalance", "recipe")
NOTE = (
    "Made by `ltbench sync` from the studies in the results folder. Runs of kind `study` have the best value that "
    "their trials found, those of kind `trial` one set of values each. All are measured on validation images: none of "
    "these numbers may be compared with the leaderboard's."
)


def tuning_experiments(store: Store) -> Iterator[Experiment]:
    """An experiment for the studies of each suite; a trial is added when it has ended."""
    by_suite: dict[str, list[Study]] = {}
    for study in studies(store.root):
        by_suite.setdefault(os.environ.get(EXPERIMENT) or study.suite, []).append(study)
    best = ("params.method", *(f"params.{name}" for name in PLACE), f"metrics.{METRIC}", "metrics.trials")
    tried = (f"metrics.{METRIC}", "metrics.cost/train_seconds", "tags.state")
    views = {
        "studies": View("Studies", "tags.kind = 'study'", METRIC, (*best, "metrics.cost/train_seconds")),
        "trials": View("Trials", "tags.kind = 'trial'", METRIC, tried, ("method", *PLACE)),
    }
    for suite, found in by_suite.items():
        runs = [run for study in found for run in (_study(study), *_trials(study))]
        yield Experiment(f"{suite} tuning", NOTE, METRIC, tuple(runs), views)


def _params(study: Study) -> dict[str, str]:
    return {name: getattr(study, name) for name in ("method", *PLACE)}


def _study(study: Study) -> Run:
    record = as_record(study)
    metrics = {"trials": float(study.ended), "cost/train_seconds": study.seconds}
    metrics |= {f"importance/{name}": share for name, share in record["importances"].items()}
    if study.best:
        metrics[METRIC] = float(study.best["value"])
    expected = tuple(Point("val/expected_best", value, n) for n, value in enumerate(record["expected_best"], 1))
    times = [time for number in range(len(study.trials)) for time in _times(study, number)]
    return Run(
        kind="study",
        key=study.name,
        name=study.method,
        params=_params(study),
        tags={
            **SOURCE,
            "protocol": "val",
            "optuna": str(study.facts["optuna"]),
            "chosen": json.dumps(study.best["params"]) if study.best else "",
        },
        metrics=metrics,
        curves=expected,
        files={"study.json": lambda: json.dumps(record, indent=1).encode()},
        made_of=record,
        times=(min(times, default=0), max(times, default=0)),
    )


def _trials(study: Study) -> Iterator[Run]:
    for trial in study.trials:
        if trial["state"] == "running":
            continue
        metrics = {"cost/train_seconds": float(trial["seconds"])}
        if trial["value"] is not None:
            metrics[METRIC] = float(trial["value"])
        yield Run(
            kind="trial",
            key=f"{study.name}:{trial['number']}",
            name=f"{study.method} · {study.imbalance} · trial {trial['number']}",
            params=_params(study) | {_as_set(study, name): str(value) for name, value in trial["params"].items()},
            tags={**SOURCE, "protocol": "val", "state": trial["state"], "reason": trial["reason"] or ""},
            metrics=metrics,
            times=_times(study, trial["number"]),
            status={"complete": "FINISHED", "pruned": "KILLED"}.get(trial["state"], "FAILED"),
            parent=f"study:{study.name}",
        )


def _as_set(study: Study, name: str) -> str:
    """The name of a value as ``--set`` has it: ``focal.gamma``, ``recipe.lr``."""
    return name if name.startswith("recipe.") else f"{parse_entry(study.method)[0]}.{name}"


def _times(study: Study, number: int) -> tuple[int, int]:
    """Start and end of a trial, in ms since 1970."""
    trial = study.source.get_trials(deepcopy=False)[number]
    begun = trial.datetime_start
    start = round(1000 * begun.timestamp()) if begun else 0
    return start, round(1000 * trial.datetime_complete.timestamp()) if trial.datetime_complete else start
