"""The learning part of a night: cells of every method, trained anew and compared seed by seed."""

from collections.abc import Sequence
from pathlib import Path

from ltbench.nightly.baseline import Baseline
from ltbench.plan.expand import Library, Plan, make_plan
from ltbench.plan.request import Request
from ltbench.results.compared import Change, Place, compare
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter
from ltbench.runner.workers import trainer

ALPHA = 1 / 30
"""Probability that a night without a regression raises an alarm, where numbers do not repeat bit for bit."""


def train(request: Request, how: RunOptions, folder: Path, listen: Reporter) -> Plan:
    """Train every cell of a suite in a new results folder. The trained networks are deleted at the end."""
    library = Library()
    plan = make_plan(request, library)
    for why in {**plan.skipped, **plan.broken}.values():
        listen.say(f"skipped method: {why}")
    store, resolved = Store(folder), how.resolved(plan.cells)
    listen.say(f"{plan.suite.name}: {len(plan.cells)} cells, in {folder}")
    with trainer(store, resolved, library, listen) as run:
        run(plan)
    for network in (folder / "stages").glob("*"):
        network.unlink()
    return plan


def judge(plan: Plan, folder: Path, baseline: Baseline) -> list[Change]:
    """What changed since the baseline. A cell that failed or has no record is an alarm."""
    return compare(blessed(plan, baseline.records()), Store(folder).latest().values(), ALPHA)


def blessed(plan: Plan, records: Sequence[Record]) -> list[Record]:
    """The records of a baseline that are in the tables of a plan, also those of methods that it lacks."""
    tables = {tuple(str(planned.cell.describe()[name]) for name in TABLE) for planned in plan.cells}
    return [record for record in records if tuple(str(getattr(record, name)) for name in TABLE) in tables]


TABLE = [name for name in Place._fields if name != "entry"]
