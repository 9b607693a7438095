"""``ltbench.run`` and ``ltbench.tune``: the commands of these names, from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ltbench.api.training import announce, plan_of, studied, tracked, trained
from ltbench.errors import Incomplete, InputError
from ltbench.plan.expand import Library
from ltbench.plan.request import Request
from ltbench.results.leaderboard import load_results
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.runner.progress import Silent, reporter
from ltbench.tuning.study import as_row
from ltbench.tuning.tune import Budget


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
    executor: Literal["local", "ray"] = "local",
    checkpoint_every_s: float = 30.0,
    results: Path | str = "results",
    data: Mapping[str, str] | None = None,
    methods_dirs: Sequence[Path | str] = (),
    tracking: bool | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every cell of a suite that has no result yet.

    The arguments are the options of ``ltbench run``, with the same defaults. A script that calls this function needs no
    ``if __name__ == "__main__":``.

    Args:
        suite: name of a suite, or path of its file.
        methods: names or patterns; None: the suite's, and likewise for the next four arguments.
        datasets: names.
        imbalance: ``100``, ``"exp:100"``, ``"step:10"``, ``"natural"``.
        seeds: training seeds; a number ``n`` means 0 to ``n - 1``.
        subset_seeds: seeds that choose the images of the long-tailed subset, written like ``seeds``.
        recipe: name of a recipe in place of the suite's.
        as_published: train each method with the hyper-parameters and the recipe of a published accuracy; progress lines
            name the methods that cannot be trained in this way.
        tuned: also train with the hyper-parameters that ``tune`` has found.
        changes: settings by name: ``{"recipe.epochs": 5, "METHOD.HYPERPARAMETER": 2.0}``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``; ``all``: one worker for each GPU.
        workers: processes that train at the same time; None: one per CPU core, or one for a GPU.
        threads: CPU threads of each process. Other numbers round differently.
        tier: how training steps run.
        runs_per_device: cells trained at the same time on one device.
        images_in: where decoded images are kept during training.
        isolate: train the cells of each method in processes of their own.
        executor: where workers run: on this machine, or on the Ray cluster that ``ray.init()`` would find or start.
        checkpoint_every_s: seconds between checkpoints.
        results: the results folder.
        data: archive or folder with the images of a data set, by its name.
        methods_dirs: folders with more methods.
        tracking: update MLflow while training; None: as ``LTBENCH_TRACKING`` says, by default yes.
        progress: show progress: on stderr, or as a bar in a notebook.

    Returns:
        One row per cell, finished or failed (see ``load_results``). ``ltbench.leaderboard`` turns them into the table.

    Raises:
        InputError: when an argument is wrong; nothing was written then.
        Incomplete: when cells have no record after the run; it names them.

    Example:
        >>> cells = ltbench.run(methods=["aux_*"], imbalance=[100], seeds=1)  # doctest: +SKIP
        >>> ltbench.leaderboard(cells)[["method", "balanced_accuracy"]]  # doctest: +SKIP
    """
    request = _request(
        suite=suite,
        methods=methods,
        datasets=datasets,
        imbalance=imbalance,
        changes=changes,
        data=data,
        methods_dirs=methods_dirs,
        seeds=_seeds(seeds),
        subset_seeds=_seeds(subset_seeds),
        recipe=recipe,
        as_published=as_published,
    )
    options = RunOptions(
        device=device,
        checkpoint_every_s=checkpoint_every_s,
        workers=workers,
        threads=threads,
        tier=tier,
        runs_per_device=runs_per_device,
        images_in=images_in,
        isolate=isolate,
        executor=executor,
    )
    library, store, listen = Library(), Store(results), reporter() if progress else Silent()
    plan = plan_of(request, library, Path(results), tuned=tuned)
    if plan.broken:
        raise InputError("; ".join(plan.broken.values()))
    options = announce(plan, options, store, listen)
    with trained(plan, options, store, library, listen, tracking=tracked(tracking)) as lost:
        if lost:
            raise Incomplete(lost)
    ids = {planned.cell.id for planned in plan.cells}
    return load_results(store, ids=ids, methods_dirs=request.methods_dirs)


def tune(
    suite: str = "quickstart",
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    imbalance: Sequence[str | float] | None = None,
    recipe: str | None = None,
    changes: Mapping[str, Any] | None = None,
    trials: int = 20,
    seeds: int = 1,
    sampler_seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    executor: Literal["local", "ray"] = "local",
    results: Path | str = "results",
    data: Mapping[str, str] | None = None,
    methods_dirs: Sequence[Path | str] = (),
    tracking: bool | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Choose hyper-parameters on validation images, with the same number of trials for every method.

    ``run(..., tuned=True)`` trains with the best values. All arguments that ``run`` has too mean the same here.

    Args:
        suite: name of a suite, or path of its file.
        methods: names or patterns.
        datasets: names.
        imbalance: ``100``, ``"exp:100"``, ``"step:10"``, ``"natural"``.
        recipe: name of a recipe in place of the suite's.
        changes: settings by name.
        trials: trials of each method.
        seeds: training runs of each trial, one per seed.
        sampler_seed: seed of the hyper-parameter sampler.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``; ``all``: one worker for each GPU.
        workers: processes that train at the same time.
        threads: CPU threads of each process.
        executor: where workers run, as for ``run``.
        results: the results folder.
        data: archive or folder with the images of a data set, by its name.
        methods_dirs: folders with more methods.
        tracking: update MLflow.
        progress: show progress.

    Returns:
        One row a study, see `ltbench.tuning.study.as_row`: balanced accuracy on validation images with the ``default``
        values and with the ``best`` ones in percent, and the ``chosen`` values.

    Raises:
        InputError: when an argument is wrong, or a study was begun with other facts.

    Example:
        >>> ltbench.tune(methods=["cb_*"], trials=10)[["method", "default", "best"]]  # doctest: +SKIP
        >>> ltbench.run(methods=["cb_*"], tuned=True)  # doctest: +SKIP
    """
    request = _request(
        suite=suite,
        methods=methods,
        datasets=datasets,
        imbalance=imbalance,
        changes=changes,
        data=data,
        methods_dirs=methods_dirs,
        recipe=recipe,
    )
    options = RunOptions(device=device, workers=workers, threads=threads, executor=executor)
    budget = Budget(trials, seeds, sampler_seed)
    listen = reporter() if progress else Silent()
    with studied(request, budget, options, Library(), Path(results), listen, tracking=tracked(tracking)) as studies:
        return pd.DataFrame([as_row(study) for study in studies])


def _request(
    *,
    methods: Sequence[str] | None,
    datasets: Sequence[str] | None,
    imbalance: Sequence[str | float] | None,
    changes: Mapping[str, Any] | None,
    data: Mapping[str, str] | None,
    methods_dirs: Sequence[Path | str],
    **others: Any,
) -> Request:
    """A request from arguments as Python users write them; ``others`` are as `Request` has them."""
    return Request(
        methods=tuple(methods) if methods is not None else None,
        datasets=tuple(datasets) if datasets is not None else None,
        imbalance=tuple(str(x) for x in imbalance) if imbalance is not None else None,
        changes=dict(changes or {}),
        data=dict(data or {}),
        methods_dirs=tuple(Path(folder) for folder in methods_dirs),
        **others,
    )


def _seeds(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    return tuple(range(given)) if isinstance(given, int) else tuple(given) if given is not None else None
