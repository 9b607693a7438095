"""``ltbench.run``: what the command of this name does, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ltbench.errors import InputError
from ltbench.plan.expand import Request, make_plan
from ltbench.results.leaderboard import load_results
from ltbench.results.store import Store
from ltbench.runner.workers import Settings, execute


def run(
    suite: str = "quickstart",
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    imbalance: Sequence[str | float] | None = None,
    seeds: int | Sequence[int] | None = None,
    subset_seeds: int | Sequence[int] | None = None,
    changes: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    methods_dirs: Sequence[Path | str] = (),
    results: Path | str = "results",
    device: str = "auto",
    workers: int = 1,
    runs_per_device: int | Literal["auto"] = 1,
    tier: Literal["eager", "graph", "compiled"] = "eager",
    images_in: Literal["auto", "device", "host", "file"] = "auto",
    tuned: bool = False,
) -> pd.DataFrame:
    """Run what is missing of a suite, as ``ltbench run`` does.

    Args:
        suite: name of a suite, or path of its file.
        methods: names or patterns, in place of the suite's; and so on for data sets, imbalances and seeds.
        datasets: names.
        imbalance: ``100``, ``"step:10"``, ``"natural"``.
        seeds: how many from 0 on, or which.
        subset_seeds: the same, of the cuts: which images survive.
        changes: as ``--set``: ``{"recipe.epochs": 5, "METHOD.HYPERPARAMETER": 2.0}``.
        data: place of a data set's images, by name.
        methods_dirs: further folders with methods.
        results: the results folder.
        device: ``auto``, ``cpu``, ``cuda``.
        workers: processes. With more than one, a script needs the usual ``if __name__ == "__main__":``.
        runs_per_device: runs at once in this process.
        tier: how steps run on a GPU.
        images_in: where decoded images lie while training.
        tuned: also the values that ``ltbench tune`` has found.

    Returns:
        One row a cell, finished or failed (see ``load_results``). ``ltbench.leaderboard`` makes the table of it.

    Raises:
        InputError: when anything asked for is wrong; then nothing was written.
    """
    request = Request(
        suite,
        tuple(methods) if methods is not None else None,
        tuple(datasets) if datasets is not None else None,
        tuple(str(x) for x in imbalance) if imbalance is not None else None,
        _seeds(seeds),
        dict(changes or {}),
        dict(data or {}),
        tuple(Path(folder) for folder in methods_dirs),
        subset_seeds=_seeds(subset_seeds),
    )
    if tuned:
        from ltbench.tuning.tune import winners

        request = replace(request, variants=winners(request, Path(results)))
    plan = make_plan(request)
    if plan.broken:
        raise InputError("; ".join(plan.broken.values()))
    store = Store(results)
    settings = Settings(device, workers=workers, tier=tier, runs_per_device=runs_per_device, images_in=images_in)
    execute(plan, store, settings)
    return load_results(results, cells={planned.cell.id for planned in plan.cells})


def _seeds(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    return tuple(range(given)) if isinstance(given, int) else tuple(given) if given is not None else None
