"""``ltbench.run``: the command of this name, from Python."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ltbench.errors import InputError
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.request import Request
from ltbench.results.leaderboard import load_results
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.workers import execute


def run(
    suite: str = "quickstart",
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    imbalance: Sequence[str | float] | None = None,
    seeds: int | Sequence[int] | None = None,
    subset_seeds: int | Sequence[int] | None = None,
    recipe: str | None = None,
    as_published: bool = False,
    tuned: bool = False,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    tier: Literal["eager", "graph", "compiled"] = "eager",
    runs_per_device: int | Literal["auto"] = 1,
    images_in: Literal["auto", "device", "host", "file"] = "auto",
    isolate: bool = False,
    checkpoint_every_s: float = 30.0,
    results: Path | str = "results",
    data: Mapping[str, str] | None = None,
    methods_dirs: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Train every cell of a suite that has no result yet.

    The arguments are the options of ``ltbench run``, with the same defaults. A script that calls this function needs no
    ``if __name__ == "__main__":``. MLflow is not updated; ``ltbench sync`` does this.

    Args:
        suite: name of a suite, or path of its file.
        methods: names or patterns; None: the suite's, and likewise for the next four arguments.
        datasets: names.
        imbalance: ``100``, ``"exp:100"``, ``"step:10"``, ``"natural"``.
        seeds: training seeds; a number ``n`` means 0 to ``n - 1``.
        subset_seeds: seeds that choose the images of the long-tailed subset, written like ``seeds``.
        recipe: name of a recipe in place of the suite's.
        as_published: train each method with the hyper-parameters and the recipe of a published accuracy; lines on
            stderr name the methods that cannot be trained in this way.
        tuned: also train with the hyper-parameters that ``ltbench tune`` has found.
        changes: settings by name: ``{"recipe.epochs": 5, "METHOD.HYPERPARAMETER": 2.0}``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        workers: processes that train at the same time; None: one per CPU core, or one for a GPU.
        threads: CPU threads of each process. Other numbers round differently.
        tier: how training steps run.
        runs_per_device: cells trained at the same time on one device.
        images_in: where decoded images are kept during training.
        isolate: train the cells of each method in processes of their own.
        checkpoint_every_s: seconds between checkpoints.
        results: the results folder.
        data: archive or folder with the images of a data set, by its name.
        methods_dirs: folders with more methods.

    Returns:
        One row per cell, finished or failed (see ``load_results``). ``ltbench.leaderboard`` turns them into the table.

    Raises:
        InputError: when an argument is wrong; nothing was written then.
        RuntimeError: when cells have no record after the run; it names them.
    """
    request = Request(
        suite=suite,
        methods=tuple(methods) if methods is not None else None,
        datasets=tuple(datasets) if datasets is not None else None,
        imbalance=tuple(str(x) for x in imbalance) if imbalance is not None else None,
        seeds=_seeds(seeds),
        subset_seeds=_seeds(subset_seeds),
        changes=dict(changes or {}),
        data=dict(data or {}),
        methods_dirs=tuple(Path(folder) for folder in methods_dirs),
        recipe=recipe,
        as_published=as_published,
    )
    library = Library()
    if tuned:
        from ltbench.tuning.tune import winners

        request = replace(request, variants=winners(request, Path(results), library))
    plan = make_plan(request, library)
    if plan.broken:
        raise InputError("; ".join(plan.broken.values()))
    if plan.suite.as_published:
        for why in plan.skipped.values():
            print(f"ltbench: skipped method: {why}", file=sys.stderr)
    options = RunOptions(
        device=device,
        checkpoint_every_s=checkpoint_every_s,
        workers=workers,
        threads=threads,
        tier=tier,
        runs_per_device=runs_per_device,
        images_in=images_in,
        isolate=isolate,
    )
    execute(plan, Store(results), options, library)
    ids = {planned.cell.id for planned in plan.cells}
    return load_results(results, ids=ids, methods_dirs=request.methods_dirs)


def _seeds(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    return tuple(range(given)) if isinstance(given, int) else tuple(given) if given is not None else None
