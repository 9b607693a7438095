"""Trains a plan or a study and keeps MLflow up to date: what the commands and the Python functions share."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ltbench.api.announcement import announcement
from ltbench.errors import InputError
from ltbench.plan.expand import Library, Plan, make_plan
from ltbench.plan.request import Request
from ltbench.plan.shards import shard
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter
from ltbench.runner.workers import of_edited_code, trainer, without_record
from ltbench.runner.workload import missing
from ltbench.tracking.follower import followed
from ltbench.tuning import tune as tuning
from ltbench.tuning.study import Study

TRACKING = "LTBENCH_TRACKING"
"""The environment variable that says whether MLflow is updated where neither an option nor an argument does."""


def tracked(asked: bool | None) -> bool:
    """Whether MLflow is updated while training.

    Args:
        asked: None: as the environment variable says; without it, yes.

    Raises:
        InputError: when the variable is neither yes nor no.
    """
    if asked is not None:
        return asked
    said = os.environ.get(TRACKING, "").lower() or "1"
    if said not in ("1", "true", "t", "yes", "y", "on", "0", "false", "f", "no", "n", "off"):
        raise InputError(f"{TRACKING}={said} is not understood; allowed: 1, 0")
    return said in ("1", "true", "t", "yes", "y", "on")


def plan_of(
    request: Request, library: Library, results: Path, *, tuned: bool = False, part: tuple[int, int] | None = None
) -> Plan:
    """The plan of a request.

    Args:
        request: what to run.
        library: loads methods and images.
        results: the results folder.
        tuned: whether to add the methods with the values that tuning has found.
        part: which part of how many; None: all of it.

    Raises:
        InputError: when anything in the request is wrong.
    """
    if tuned:
        request = replace(request, variants=tuning.winners(request, results, library))
    plan = make_plan(request, library)
    return plan if part is None else replace(plan, cells=shard(plan.cells, *part))


def announce(plan: Plan, how: RunOptions, store: Store, listen: Reporter) -> RunOptions:
    """Say what a plan trains, and return the options with numbers in place of None.

    Raises:
        InputError: when the options do not fit the cells.
    """
    to_do = missing(plan, store.latest())
    how = how.resolved(to_do)
    for line in announcement(plan, to_do, store, how):
        listen.say(line)
    return how


@contextlib.contextmanager
def trained(
    plan: Plan, how: RunOptions, store: Store, library: Library, listen: Reporter, *, tracking: bool
) -> Iterator[str]:
    """Train every cell of a plan that has no finished record. MLflow is up to date at the end of the context.

    Args:
        plan: what to train.
        how: resolved options.
        store: of the results.
        library: the methods and images that the plan was made with.
        listen: follows the progress.
        tracking: whether to update MLflow.

    Yields:
        A line that names the cells without a record, or says that code was edited; empty where nothing is left to do.
    """
    store.prepare()
    with followed(store.root, tracking and bool(missing(plan, store.latest()))):
        with trainer(store, how, library, listen) as train:
            train(plan)
        yield without_record(plan, store) or of_edited_code(plan)


@contextlib.contextmanager
def studied(
    request: Request,
    budget: tuning.Budget,
    how: RunOptions,
    library: Library,
    results: Path,
    listen: Reporter,
    *,
    tracking: bool,
) -> Iterator[list[Study]]:
    """Give every method of a request its trials. MLflow is up to date at the end of the context.

    Args:
        request: whose methods, data sets and imbalances are tuned.
        budget: the same for every method.
        how: how trials are trained.
        library: loads methods and images.
        results: the results folder.
        listen: follows the progress.
        tracking: whether to update MLflow.

    Yields:
        The studies.
    """
    searches = tuning.prepare(request, budget, library)
    Store(results).prepare()
    with followed(results, tracking and not tuning.finished(searches, results, budget)):
        yield tuning.tune(searches, results, budget, how, library, listen)
