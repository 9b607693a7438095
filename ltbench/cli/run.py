"""The commands that train: ``run`` and ``tune``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltbench.cli import options
from ltbench.cli.results import print_leaderboard

PANEL = "Run"
app = typer.Typer()

if TYPE_CHECKING:
    from ltbench.plan.expand import Library, Plan
    from ltbench.results.store import Store
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import Reporter


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench run                                       # the quickstart suite",
        "ltbench run --methods ce,crt --imbalance 100,50   # two methods, two imbalance factors",
        "ltbench run --methods 'focal,focal(gamma=2)'      # one method with two values",
        "ltbench run --suite cifar100-lt --seeds 5         # another suite, with seeds 0 to 4",
        "ltbench run --set recipe.epochs=5 --dry-run       # show what would run",
        "ltbench run --suite cifar10-lt --as-published     # each method as in its paper",
    ),
)
def run(
    suite: options.SuiteToRun = "quickstart",
    methods: options.Methods = None,
    datasets: options.Datasets = None,
    imbalance: options.Imbalances = None,
    seeds: options.Seeds = None,
    subset_seeds: options.SubsetSeeds = None,
    recipe: options.RecipeName = None,
    as_published: options.AsPublished = False,
    tuned: options.Tuned = False,
    set_: options.Changes = [],  # noqa: B006
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    threads: options.Threads = 1,
    tier: options.Tier = "eager",
    runs_per_device: options.RunsPerDevice = "1",
    images_in: options.ImagesIn = "auto",
    isolate: options.Isolate = False,
    executor: options.Executor = "local",
    shard: options.Shard = None,
    checkpoint_every: options.CheckpointEvery = 30.0,
    results: options.Results = Path("results"),
    data: options.DataPlaces = [],  # noqa: B006
    methods_dir: options.MethodsDir = [],  # noqa: B006
    tracking: options.Tracking = True,
    as_json: options.Json = False,
) -> None:
    """Train every cell of a suite that has no result yet, then print the leaderboard.

    A cell is one method on one data set, with one imbalance factor and one seed. If a run stops, repeat the command to
    continue.
    """
    from ltbench.api.training import announce, plan_of
    from ltbench.plan.expand import Library
    from ltbench.plan.request import Request
    from ltbench.results.store import Store
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import reporter

    request = Request(
        suite=suite,
        methods=options.names(methods),
        datasets=options.names(datasets),
        imbalance=options.names(imbalance),
        seeds=options.seeds("--seeds", seeds),
        subset_seeds=options.seeds("--subset-seeds", subset_seeds),
        changes=options.changes(set_),
        data=options.places(data),
        methods_dirs=tuple(methods_dir),
        recipe=recipe,
        as_published=as_published,
    )
    how = RunOptions(
        device=device,
        checkpoint_every_s=checkpoint_every,
        workers=workers,
        threads=threads,
        tier=tier,
        runs_per_device=options.runs(runs_per_device),
        images_in=images_in,
        isolate=isolate,
        executor=executor,
    )
    library, store, listen = Library(), Store(results), reporter()
    part = None if shard is None else options.part_of(shard)
    plan = plan_of(request, library, results, tuned=tuned, part=part)
    if part and not plan.cells:
        listen.say(f"shard {shard} has no cells: those that share a stage are in one shard, and such groups are fewer")
        raise typer.Exit(1 if plan.broken else 0)
    how = announce(plan, how, store, listen)
    if not dry_run:
        failed = _train(plan, how, store, library, listen, tracking=tracking, as_json=as_json)
        raise typer.Exit(1 if failed or plan.broken else 0)
    if as_json:
        print(json.dumps([{"id": p.cell.id, **p.cell.describe()} for p in plan.cells], indent=1))
    raise typer.Exit(1 if plan.broken else 0)


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench tune --methods ce,focal --trials 20       # 20 trials for each of the two",
        "ltbench run --methods ce,focal --tuned            # then train with the best values",
    ),
)
def tune(
    suite: options.SuiteToRun = "quickstart",
    methods: options.Methods = None,
    datasets: options.Datasets = None,
    imbalance: options.Imbalances = None,
    recipe: options.RecipeName = None,
    set_: options.Changes = [],  # noqa: B006
    trials: options.Trials = 20,
    seeds: options.TrainingsOfATrial = 1,
    sampler_seed: options.SamplerSeed = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    threads: options.Threads = 1,
    executor: options.Executor = "local",
    results: options.Results = Path("results"),
    data: options.DataPlaces = [],  # noqa: B006
    methods_dir: options.MethodsDir = [],  # noqa: B006
    tracking: options.Tracking = True,
    as_json: options.Json = False,
) -> None:
    """Choose hyper-parameters on validation images, with the same number of trials for every method.

    Train with the best values by 'ltbench run --tuned'. If tuning stops, repeat the command to continue.
    """
    from ltbench.api.training import studied
    from ltbench.plan.expand import Library
    from ltbench.plan.request import Request
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import reporter
    from ltbench.show.studies import print_studies
    from ltbench.tuning.study import as_record
    from ltbench.tuning.tune import Budget

    request = Request(
        suite=suite,
        methods=options.names(methods),
        datasets=options.names(datasets),
        imbalance=options.names(imbalance),
        changes=options.changes(set_),
        data=options.places(data),
        methods_dirs=tuple(methods_dir),
        recipe=recipe,
    )
    how, listen, budget = (
        RunOptions(device=device, workers=workers, threads=threads, executor=executor),
        reporter(),
        Budget(trials, seeds, sampler_seed),
    )
    with studied(request, budget, how, Library(), results, listen, tracking=tracking) as found:
        if as_json:
            print(json.dumps([as_record(study) for study in found], indent=1))
        else:
            print_studies(found)
    raise typer.Exit(0 if all(study.best for study in found) else 1)


def _train(
    plan: "Plan",
    how: "RunOptions",
    store: "Store",
    library: "Library",
    listen: "Reporter",
    *,
    tracking: bool,
    as_json: bool,
) -> bool:
    """Train a plan and print its leaderboard; whether a cell failed."""
    from ltbench.api.training import trained
    from ltbench.data.sources import is_own

    with trained(plan, how, store, library, listen, tracking=tracking) as lost:
        if lost:
            listen.say(f"ltbench: {lost}")
            if not store.latest():
                return True
        ids, folders = {p.cell.id for p in plan.cells}, plan.request.methods_dirs
        failed = print_leaderboard(store.root, ids, "json" if as_json else "table", methods_dirs=folders)
        if not as_json and plan.cells and all(is_own(planned.cell.dataset) for planned in plan.cells):
            _recommend(store, ids, folders)
        return failed or bool(lost)


def _recommend(store: "Store", ids: set[str], methods_dirs: Sequence[Path]) -> None:
    """Print the method to use on data of one's own."""
    from ltbench.results.leaderboard import load_results
    from ltbench.results.recommend import choices
    from ltbench.show.recommendation import recommendation

    for choice in choices(load_results(store, ids=ids, methods_dirs=methods_dirs), store.latest()):
        print(recommendation(choice))
