"""The learning part of a night: cells of every method, trained again and compared seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltbench.nightly.baseline import Baseline
from ltbench.plan.expand import Library, Plan, make_plan
from ltbench.plan.request import Request
from ltbench.results.compared import Change, Place, compare, paired_tests
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter
from ltbench.runner.workers import trainer

ALPHA = 1 / 30
"""Probability that a night without a regression raises an alarm, where numbers do not repeat bit for bit: one in 30."""


def train(request: Request, how: RunOptions, folder: Path, listen: Reporter) -> Plan:
    """Train every cell of a suite in a new results folder. The trained networks are deleted at the end."""
    library = Library()
    plan = make_plan(request, library)
    for why in {**plan.skipped, **plan.broken}.values():
        listen.say(f"skipped: {why}")
    store, resolved = Store(folder), how.resolved(plan.cells)
    listen.say(f"{plan.suite.name}: {len(plan.cells)} cells, in {folder}")
    with trainer(store, resolved, library, listen) as run:
        run(plan)
    for network in (folder / "stages").glob("*"):
        network.unlink()
    return plan


def judge(plan: Plan, folder: Path, baseline: Baseline) -> list[Change]:
    """What changed since the baseline. A cell that failed or has no record is an alarm."""
    return compare(blessed(plan, baseline.records()), Store(folder).latest().values(), ALPHA / 2)


def blessed(plan: Plan, records: Sequence[Record]) -> list[Record]:
    """The records of a baseline that are in the tables of a plan, also those of methods that it lacks."""
    tables = {tuple(str(planned.cell.describe()[name]) for name in TABLE) for planned in plan.cells}
    return [record for record in records if tuple(str(getattr(record, name)) for name in TABLE) in tables]


TABLE = [name for name in Place._fields if name != "entry"]


@dataclass(frozen=True)
class Together:
    """The mean difference of all methods: a change of the engine moves many a little.

    Attributes:
        difference: in points, the mean over methods and seeds.
        p: of no difference, by a t-test over the seeds' means.
        detectable: the loss of all methods in points that is found with 80 % power.
    """

    difference: float
    p: float
    detectable: float

    def __str__(self) -> str:
        return f"changed by {self.difference:+.2f} points (p = {self.p:.2g})"


def together(changes: Sequence[Change]) -> Together | None:
    """The test of all methods together; None where numbers repeat bit for bit, and with fewer than two seeds.

    Its false alarms are as likely as those of all single methods together: ``ALPHA / 2`` each.
    """
    pairs = [pair for change in changes for pair in change.pairs if pair.after is not None]
    if all(pair.repeats or pair.identical for pair in pairs):
        return None
    by_seed: dict[int, list[float]] = {}
    for pair in pairs:
        by_seed.setdefault(pair.seed, []).append(float(pair.after or 0.0) - pair.before)
    means = np.array([np.mean(values) for values in by_seed.values() if len(values) == max(map(len, by_seed.values()))])
    if len(means) < 2:
        return None
    test = paired_tests({"all": means}, ALPHA / 2)["all"]
    return Together(float(means.mean()), test.p, test.detectable)
