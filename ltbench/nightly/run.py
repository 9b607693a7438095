"""Spends a night, or makes what a night found the new baseline."""

from pathlib import Path

from ltbench.engine.process import device_of
from ltbench.errors import InputError
from ltbench.nightly import learning
from ltbench.nightly.baseline import Baseline
from ltbench.nightly.night import Night, new_folder, remember
from ltbench.plan.request import Request
from ltbench.results.record import Environment, now
from ltbench.results.store import Store
from ltbench.runner.environment import environment
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Reporter


def spend_night(request: Request, how: RunOptions, baseline: Baseline, parent: Path, listen: Reporter) -> Night:
    """Train, compare, and add a line to the history.

    Args:
        request: the suite to train.
        how: device and processes.
        baseline: what the numbers are compared with.
        parent: folder of all nights.
        listen: follows the progress.

    Raises:
        InputError: where there is no baseline; nothing was trained then.
    """
    baseline.records()
    created, where = now(), _where(how)
    folder = new_folder(parent, created[:10], where.revision)
    plan = learning.train(request, how, folder, listen)
    changes = learning.judge(plan, folder, baseline)
    night = Night(folder, created, where.revision, where.rounding, changes)
    remember(parent, night.line())
    return night


def bless(
    request: Request, how: RunOptions, baseline: Baseline, parent: Path, because: str, listen: Reporter
) -> list[str]:
    """Spend a night and make what it found the new baseline.

    Returns:
        What is new, one line each.

    Raises:
        InputError: where a cell failed; the baseline is as before then.
    """
    where = _where(how)
    folder = new_folder(parent, now()[:10], where.revision)
    plan = learning.train(request, how, folder, listen)
    records = Store(folder).latest()
    lost = [str(p.cell) for p in plan.cells if p.cell.id not in records or records[p.cell.id].result is None]
    if lost or plan.broken:
        raise InputError(
            f"nothing was blessed: {len(lost) or len(plan.broken)} cells have no result ({[*lost, *plan.broken][0]}); "
            f"see ltbench status --results {folder}"
        )
    old = learning.blessed(plan, list(baseline.store.latest().values()))
    baseline.replace(old, records.values())
    what = f"{len(records)} cells of suite {plan.suite.name}"
    baseline.sign(because, where.revision, what, where.rounding)
    return [f"{what} are the new baseline in {baseline.root}; commit this folder"]


def _where(how: RunOptions) -> Environment:
    return environment(device_of(how.device), how.threads)
