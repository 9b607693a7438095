"""The commands that train: ``run`` and ``tune``."""

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltbench.cli import options
from ltbench.cli.results import print_leaderboard

PANEL = "Run"
app = typer.Typer()

if TYPE_CHECKING:
    from ltbench.plan.expand import Library, Plan, Planned
    from ltbench.plan.request import Request
    from ltbench.results.record import Record
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
    from ltbench.plan.expand import Library
    from ltbench.plan.request import Request
    from ltbench.runner.options import RunOptions

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
    )
    library = Library()
    plan = _plan(request, library, results, tuned, shard)
    failed = _train(plan, how, library, results, tracking=tracking, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(1 if failed or plan.broken else 0)


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
    results: options.Results = Path("results"),
    data: options.DataPlaces = [],  # noqa: B006
    methods_dir: options.MethodsDir = [],  # noqa: B006
    tracking: options.Tracking = True,
    as_json: options.Json = False,
) -> None:
    """Choose hyper-parameters on validation images, with the same number of trials for every method.

    Train with the best values by 'ltbench run --tuned'. If tuning stops, repeat the command to continue.
    """
    from ltbench.plan.expand import Library
    from ltbench.plan.request import Request
    from ltbench.results.store import Store
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import reporter
    from ltbench.show.studies import print_studies
    from ltbench.tracking.follower import followed
    from ltbench.tuning import tune as tuning
    from ltbench.tuning.study import as_record

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
    how, library, listen = RunOptions(device=device, workers=workers, threads=threads), Library(), reporter()
    budget = tuning.Budget(trials, seeds, sampler_seed)
    searches = tuning.prepare(request, budget, library)
    Store(results).prepare()
    with interruptible(listen), followed(results, tracking and not tuning.finished(searches, results, budget)):
        found = tuning.tune(searches, results, budget, how, library, listen)
        if as_json:
            print(json.dumps([as_record(study) for study in found], indent=1))
        else:
            print_studies(found)
    raise typer.Exit(0 if all(study.best for study in found) else 1)


def _plan(request: "Request", library: "Library", results: Path, tuned: bool, shard: str | None) -> "Plan":
    """The plan of a request, with the tuned methods and without the parts of other machines."""
    from ltbench.plan.expand import make_plan
    from ltbench.plan.shards import shard as part_of

    if tuned:
        from ltbench.tuning.tune import winners

        request = replace(request, variants=winners(request, results, library))
    plan = make_plan(request, library)
    if shard is None:
        return plan
    return replace(plan, cells=part_of(plan.cells, *options.part_of(shard)))


def _train(
    plan: "Plan",
    how: "RunOptions",
    library: "Library",
    results: Path,
    *,
    tracking: bool,
    dry_run: bool,
    as_json: bool,
) -> bool:
    """Announce a plan, train it and print its leaderboard; whether a cell failed."""
    from ltbench.data.sources import is_own
    from ltbench.results.store import Store
    from ltbench.runner.progress import reporter
    from ltbench.runner.workers import trainer, without_record
    from ltbench.runner.workload import missing
    from ltbench.tracking.follower import followed

    listen, store = reporter(), Store(results)
    for why in {**plan.skipped, **plan.broken}.values():
        listen.say(f"skipped method: {why}")
    for line in (*_image_files(plan), *_weights(plan)):
        listen.say(line)
    records = store.latest()
    to_do = missing(plan, records)
    how = how.resolved(to_do)
    listen.say(_announcement(plan, to_do, records, how))
    if dry_run:
        if as_json:
            print(json.dumps([{"id": p.cell.id, **p.cell.describe()} for p in plan.cells], indent=1))
        return False
    store.prepare()
    with interruptible(listen), followed(results, tracking and bool(to_do)):
        with trainer(store, how, library, listen) as train:
            train(plan)
        if lost := without_record(plan, store):
            listen.say(f"ltbench: {lost}")
            if not store.latest():
                return True
        ids, folders = {p.cell.id for p in plan.cells}, plan.request.methods_dirs
        failed = print_leaderboard(results, ids, "json" if as_json else "table", methods_dirs=folders)
        if not as_json and all(is_own(planned.cell.dataset) for planned in plan.cells):
            _recommend(store, ids, folders)
        return failed or bool(lost)


def _recommend(store: "Store", ids: set[str], methods_dirs: Sequence[Path]) -> None:
    """Print the method to use on data of one's own."""
    from ltbench.results.leaderboard import load_results
    from ltbench.results.recommend import choices
    from ltbench.show.recommendation import recommendation

    for choice in choices(load_results(store, ids=ids, methods_dirs=methods_dirs), store.latest()):
        print(recommendation(choice))


def _image_files(plan: "Plan") -> list[str]:
    """One line on each data set of image files."""
    from ltbench.cli.data import described
    from ltbench.data.files import FileSet

    lines = []
    for planned in {p.cell.dataset: p for p in plan.cells}.values():
        if planned.test is not None and isinstance(planned.images, FileSet):
            lines.append(described(planned.images, planned.test.read().counts(len(planned.counts))))
    return lines


def _weights(plan: "Plan") -> list[str]:
    """One line on the pretrained weights of each data set and backbone."""
    lines: dict[str, None] = {}
    for planned in plan.cells:
        recipe, (height, width, _) = planned.cell.recipe, planned.images.train.images.shape[1:]
        if recipe.weights is not None:
            seen = "x".join(map(str, recipe.input_size(height, width)))
            lines[
                f"{planned.cell.label}: weights {recipe.weights}, pretrained on {recipe.weights.data}; images resized "
                f"to {width}x{height} ({recipe.interpolation}), the network sees {seen}"
            ] = None
    return list(lines)


def _announcement(plan: "Plan", to_do: "Sequence[Planned]", records: "Mapping[str, Record]", how: "RunOptions") -> str:
    """One line on how much there is to train, and how long it takes."""
    from ltbench.plan.cell import BASELINE
    from ltbench.plan.suite import load_suite
    from ltbench.runner.workload import estimate_seconds
    from ltbench.units import duration

    stages = [stage.id for planned in to_do for stage in planned.stages]
    shared = len(stages) - len(set(stages))
    seconds = estimate_seconds(to_do, records)
    time = "time not known yet" if seconds is None else f"about {duration(seconds / (how.workers or 1))}"
    under = "" if plan.suite.as_published else "under recipe "
    further = sorted({p.cell.seed for p in plan.cells} - set(plan.suite.seeds))
    own = plan.request.recipe_in_place_of(load_suite(plan.request.suite).recipe.base)
    return (
        f"{plan.suite.name}: {len(plan.cells)} cells {under}{plan.compared_under}, "
        f"{len(plan.cells) - len(to_do)} done, {len(to_do)} to do"
        + (", imbalance natural (the default for images of your own)" if plan.request.natural_by_default else "")
        + (f", recipe {own} (the default for images of your own; see also --recipe finetune and frozen)" if own else "")
        + (f", {time}" if to_do else "")
        + (f"; {len(stages)} stages, {shared} of them shared and trained only once" if shared else "")
        + (f"; {BASELINE} also with seeds {', '.join(map(str, further))} (not with --seeds)" if further else "")
    )


@contextlib.contextmanager
def interruptible(listen: "Reporter") -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into one line on stderr and exit status 130; a second one ends the process at once."""
    before = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    interrupt = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        listen.say("ltbench: interrupted; finished cells are kept; repeat the command to continue")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
