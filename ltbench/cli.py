"""The command line. Everything heavy is imported where it is used."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ltbench import __version__
from ltbench.errors import InputError

if TYPE_CHECKING:
    from ltbench.runner.progress import Reporter

app = typer.Typer(
    name="ltbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Which long-tailed learning method should I use, and by how much is it better?",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets: is it there, is it whole, what would mend it.")
app.add_typer(data_app, name="data")

Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of results.")]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
MethodsDir = Annotated[list[Path], typer.Option("--methods-dir", metavar="DIR", help="Further folder with methods.")]
DataPlaces = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="NAME=PATH",
        help="Where the images of NAME lie; NAME=imagefolder:PATH for any folder.",
    ),
]
SuiteName = Annotated[str, typer.Option("--suite", metavar="NAME|FILE", help="A suite (ltbench ls suites).")]
Methods = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Names or patterns, with commas: 'NAME,c*'; NAME(KEY=VALUE) for a variant."),
]
Datasets = Annotated[str | None, typer.Option(metavar="NAMES", help="In place of the suite's.")]
Imbalances = Annotated[str | None, typer.Option(metavar="LIST", help="100,50 or exp:100,step:10,natural.")]
Changes = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="recipe.epochs=5, METHOD.HYPERPARAMETER=2, holdout=25, ... (repeatable)."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Workers = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes at once; by default one a core, one on a GPU.")
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Threads of each process; by default the cores, shared out.")
]
Tracking = Annotated[
    bool,
    typer.Option("--tracking/--no-tracking", envvar="LTBENCH_TRACKING", help="Keep MLflow up to date meanwhile."),
]
ProtocolName = Annotated[
    Literal["last", "val", "best-on-test"],
    typer.Option("--protocol", help="Which epoch counts; best-on-test is optimistic and for comparison only."),
]


@app.command()
def run(
    suite: SuiteName = "quickstart",
    methods: Methods = None,
    datasets: Datasets = None,
    imbalance: Imbalances = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N|LIST", help="3: seeds 0 to 2; 0,4: these; 4,: this one.")
    ] = None,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="Also the values that ltbench tune has found, as rows of their own.")
    ] = False,
    subset_seeds: Annotated[
        str | None, typer.Option(metavar="N|LIST", help="Which images survive the cut, each a table; as --seeds.")
    ] = None,
    set_: Changes = [],  # noqa: B006
    data: DataPlaces = [],  # noqa: B006
    methods_dir: MethodsDir = [],  # noqa: B006
    results: Results = Path("results"),
    device: Device = "auto",
    workers: Workers = None,
    threads: Threads = None,
    tier: Annotated[
        Literal["eager", "graph", "compiled"],
        typer.Option(help="How steps run; graph and compiled are for CUDA, and no GPU has run their tests yet."),
    ] = "eager",
    runs_per_device: Annotated[
        str,
        typer.Option(metavar="N|auto", help="Runs at once on one device, 1 to 16; no GPU has run more than 1 yet."),
    ] = "1",
    images_in: Annotated[
        Literal["auto", "device", "host", "file"],
        typer.Option(help="Where decoded images lie while training; auto: the first of these that has room."),
    ] = "auto",
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts of the cells.")] = None,
    checkpoint_every: Annotated[float, typer.Option(metavar="SECONDS", help="Time between checkpoints.", min=0)] = 30.0,
    tracking: Tracking = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run what is missing of a suite, then show its leaderboard."""
    from dataclasses import replace

    from ltbench.plan.expand import Request, make_plan, missing, parse_value
    from ltbench.results.store import Store
    from ltbench.runner.progress import reporter
    from ltbench.runner.workers import Settings, checked, execute
    from ltbench.tracking.follower import followed

    request = Request(
        suite,
        _names(methods),
        _names(datasets),
        _names(imbalance),
        _seeds("--seeds", seeds),
        {key: parse_value(value) for key, value in _pairs("--set", set_).items()},
        _pairs("--data", data),
        tuple(methods_dir),
        subset_seeds=_seeds("--subset-seeds", subset_seeds),
    )
    if tuned:
        from ltbench.tuning.tune import winners

        request = replace(request, variants=winners(request, results))
    plan = make_plan(request)
    if shard is not None:
        part, parts = _shard(shard)
        plan = replace(plan, cells=plan.cells[part - 1 :: parts])
    listen = reporter()
    for why in {**plan.skipped, **plan.broken}.values():
        listen.say(f"method left out: {why}")
    store = Store(results)
    settings = Settings(device, checkpoint_every, workers, threads, tier, _runs(runs_per_device), images_in)
    records = store.latest()
    to_do = missing(plan, records)
    settings = checked(settings, plan, len(to_do))
    listen.say(_announcement(plan, to_do, records, settings))
    if dry_run:
        if as_json:
            print(json.dumps([{"id": p.cell.id, **p.cell.describe()} for p in plan.cells], indent=1))
        raise typer.Exit(1 if plan.broken else 0)
    store.prepare()
    with _interruptible(listen), followed(results, tracking and bool(to_do)):
        execute(plan, store, settings, listen)
        failed = _show_board(results, {p.cell.id for p in plan.cells}, "json" if as_json else "table", "last")
    raise typer.Exit(1 if failed or plan.broken else 0)


@app.command()
def tune(
    suite: SuiteName = "quickstart",
    methods: Methods = None,
    datasets: Datasets = None,
    imbalance: Imbalances = None,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials of each study, the same for all.")] = 20,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Trainings of each trial, unless it is pruned.")] = 1,
    sampler_seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of what is tried.")] = 0,
    set_: Changes = [],  # noqa: B006
    data: DataPlaces = [],  # noqa: B006
    methods_dir: MethodsDir = [],  # noqa: B006
    results: Results = Path("results"),
    device: Device = "auto",
    workers: Workers = None,
    threads: Threads = None,
    tracking: Tracking = True,
    as_json: Json = False,
) -> None:
    """Choose hyper-parameters on validation images, with the same number of trials for every method."""
    from ltbench.plan.expand import Request, parse_value
    from ltbench.results.store import Store
    from ltbench.runner.progress import reporter
    from ltbench.runner.workers import Settings
    from ltbench.tracking.follower import followed
    from ltbench.tuning.study import as_record, print_studies
    from ltbench.tuning.tune import Budget, finished, prepare, tune

    request = Request(
        suite,
        _names(methods),
        _names(datasets),
        _names(imbalance),
        None,
        {key: parse_value(value) for key, value in _pairs("--set", set_).items()},
        _pairs("--data", data),
        tuple(methods_dir),
    )
    settings = Settings(device, workers=workers, threads=threads)
    listen = reporter()
    budget = Budget(trials, seeds, sampler_seed)
    searches = prepare(request, budget)
    Store(results).prepare()
    with _interruptible(listen), followed(results, tracking and not finished(searches, results, budget)):
        found = tune(searches, results, budget, settings, listen)
        if as_json:
            print(json.dumps([as_record(study) for study in found], indent=1))
        else:
            print_studies(found)
    raise typer.Exit(0 if all(study.best for study in found) else 1)


@app.command()
def leaderboard(
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="Only the cells of this suite.")] = None,
    format: Annotated[Literal["table", "markdown", "csv", "json", "latex"], typer.Option(help="How.")] = "table",
    protocol: ProtocolName = "last",
    shifted: Annotated[
        bool, typer.Option("--shifted", help="Accuracy on long-tailed test sets instead, forward and backward.")
    ] = False,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """The table of what is in the store."""
    _existing(results)
    if shifted and protocol != "last":
        raise InputError(
            f"--shifted knows no protocol {protocol}: records have hits of the last epoch only; leave it out"
        )
    _show_board(results, _cells_of(suite, results), "json" if as_json else format, protocol, shifted)


@app.command()
def status(
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="Only this suite.")] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Which cells are done, running, failed (and why) and to do."""
    from rich.console import Console
    from rich.table import Table

    from ltbench.results.status import STATES, cell_states, counts
    from ltbench.results.store import Store

    _existing(results)
    cells = cell_states(Store(results), None if suite is None else _known_suite(suite, results))
    if as_json:
        print(json.dumps(cells, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table("suite", *STATES)
    for name, count in counts(cells).items():
        table.add_row(name, *(str(count[state]) for state in STATES))
    console.print(table)
    for cell in cells:
        if cell["state"] in ("failed", "running"):
            name = f"{cell['dataset']} / {cell['imbalance']} / {cell['method']} / seed {cell['seed']}"
            console.print(f"{cell['state']}: {cell['id']} {name}{': ' + cell['reason'] if cell['reason'] else ''}")


@app.command()
def show(
    cell: Annotated[str, typer.Argument(metavar="ID", help="Of a cell, or its beginning.")],
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """One record whole, with the command that repeats it."""
    from ltbench.results.store import Store

    _existing(results)
    found = Store(results).latest(cell)
    if len(found) != 1:
        what = f"{len(found)} cells begin with '{cell}'" if found else f"no cell begins with '{cell}'"
        raise InputError(f"{what} in {results}; ids: ltbench status --json")
    record = next(iter(found.values()))
    if as_json:
        print(json.dumps(record, indent=1))
        return
    from ltbench.show.record import print_record

    print_record(record)


@app.command()
def sync(
    results: Results = Path("results"),
    follow: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
) -> None:
    """Make MLflow say what is in the results folder."""
    from ltbench.results.store import Store

    _existing(results)
    if follow:
        from ltbench.tracking.follower import follow as follow_run

        follow_run(Store(results))
        return
    from ltbench.tracking.sync import sync as bring_up_to_date

    done = bring_up_to_date(Store(results))
    print(", ".join(f"{done[what]} runs {what}" for what in ("new", "changed", "deleted", "same")))


@app.command()
def ui(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Of this machine, for this machine.")] = 5000,
    results: Results = Path("results"),
) -> None:
    """MLflow's pages, opening on the leaderboard."""
    from ltbench.results.store import Store
    from ltbench.tracking.ui import show_ui

    _existing(results)
    show_ui(Store(results), port, lambda text: print(text, flush=True))


@app.command()
def report(
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="Only the cells of this suite.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write every plot as PNG and PDF, the tables as Markdown, CSV, LaTeX."),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """One self-contained HTML page: tables, plots, ours against the papers."""
    _existing(results)
    ids = _cells_of(suite, results)
    from ltbench.show.page import write_report

    for file in write_report(results, output, ids, figures):
        print(file)


@app.command("ls")
def list_(
    what: Annotated[Literal["methods", "suites", "datasets", "backbones"], typer.Argument(help="Of what.")],
    methods_dir: MethodsDir = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """What there is, with one line each."""
    rows = _listing(what, methods_dir)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    width = min(40, max((len(name) for name in rows), default=0))
    for name, about in rows.items():
        print(f"{name:{width}}  {about}".rstrip())


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the method and its file.")],
    methods_dir: Annotated[Path, typer.Option("--methods-dir", metavar="DIR", help="Where to write it.")] = Path(
        "methods"
    ),
) -> None:
    """Write the file of a new method, which already runs and explains itself."""
    from ltbench.check.template import write_method

    file = write_method(name, methods_dir)
    found = "" if methods_dir.resolve() == Path("methods").resolve() else f" --methods-dir {methods_dir}"
    print(f"{file} is written; it runs as it is. Edit it, then:")
    print(f"  ltbench check {name}{found}")
    print(f"  ltbench run --methods ce,{name}{found}")


@app.command()
def check(
    targets: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Methods, patterns or files.")],
    methods_dir: MethodsDir = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda: for the two checks that tell more on a GPU.")] = "auto",
    as_json: Json = False,
) -> None:
    """Examine methods: does each keep the contract."""
    from ltbench.check.report import as_record, examine_all, print_outcomes

    records = {}
    failed = False
    for name, outcomes in examine_all(targets, methods_dir, device):
        failed |= any(outcome.status == "failed" for _, outcome in outcomes)
        records[name] = as_record(outcomes)
        if not as_json:
            print_outcomes(name, outcomes)
    if as_json:
        print(json.dumps(records, indent=1))
    raise typer.Exit(1 if failed else 0)


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A data set (ltbench ls datasets), or imagefolder:PATH.")],
    data: DataPlaces = [],  # noqa: B006
    image_size: Annotated[int | None, typer.Option(help="Side in pixels that images are resized to.", min=4)] = None,
    as_json: Json = False,
) -> None:
    """Say what of a data set is there, what is wrong and what mends it."""
    from ltbench.data import load

    images = load(name, image_size, _pairs("--data", data))
    height, width, channels = images.train.images.shape[1:]
    splits = {"train": images.train, "val": images.val, "test": images.test}
    facts: dict[str, Any] = {
        "name": images.name,
        "found": images.found,
        "images": f"{width}x{height}, {'grey' if channels == 1 else 'colour'}",
        "classes": len(images.classes),
        **{split: len(content) for split, content in splits.items() if content is not None},
        "images a class (train)": _spread(images.train.counts(len(images.classes))),
        "fingerprint": images.fingerprint,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for fact, value in facts.items():
        print(f"{fact:22}  {value}")
    print(f"{name} is whole.")


@data_app.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="A data set (ltbench ls datasets), or imagefolder:PATH.")],
    data: DataPlaces = [],  # noqa: B006
    image_size: Annotated[int | None, typer.Option(help="Side in pixels, as recipe.image_size.", min=4)] = None,
) -> None:
    """Download or decode a data set now, so that no run has to."""
    from ltbench.data import load
    from ltbench.data.home import data_folder

    images = load(name, image_size, _pairs("--data", data))
    splits = [split for split in (images.train, images.val, images.test) if split is not None]
    size = sum(split.size_bytes for split in splits) / 1e9
    print(
        f"{name} is ready: {sum(map(len, splits))} images, {size:.2f} GB decoded; what is kept lies in {data_folder()}"
    )


def main() -> None:
    """Run the command line; wrong input is one line on stderr and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"ltbench: {error}", file=sys.stderr)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"ltbench {__version__}")
        raise typer.Exit


def _announcement(plan: Any, to_do: list[Any], records: Any, settings: Any) -> str:
    from ltbench.plan.expand import estimate_seconds
    from ltbench.show.tables import duration

    stages = [stage.id for planned in to_do for stage in planned.stages]
    shared = len(stages) - len(set(stages))
    seconds = estimate_seconds(plan, records)
    if not to_do:
        time = ""
    elif seconds is None:
        time = ", time not known yet"
    else:
        time = f", about {duration(seconds / settings.workers)}"
    return (
        f"{plan.suite.name}: {len(plan.cells)} cells under recipe {plan.suite.recipe.label}, "
        f"{len(plan.cells) - len(to_do)} done, {len(to_do)} to do{time}"
        + (f"; {shared} of their {len(stages)} stages are shared, not trained again" if shared else "")
    )


@contextlib.contextmanager
def _interruptible(listen: "Reporter") -> Iterator[None]:
    """Ctrl-C ends with a line that says what becomes of the work, and the exit status of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        listen.say("ltbench: interrupted; what is finished is kept, the same command goes on")
        raise typer.Exit(130) from None


def _show_board(results: Path, ids: set[str] | None, form: Any, protocol: Any, shifted: bool = False) -> bool:
    """Print the leaderboard, or accuracies under shifted test priors; True when a cell failed."""
    from ltbench.results.across_tables import ranks_by_setting, shifted_priors, subset_spread
    from ltbench.results.leaderboard import leaderboard as board_of
    from ltbench.results.leaderboard import load_results
    from ltbench.results.store import Store
    from ltbench.show.tables import render, render_shifted

    cells = load_results(results, protocol, ids)
    if cells.empty and form == "table":
        print(f"no results in {results} yet; ltbench run makes some", file=sys.stderr)
        return False
    from rich.console import Console

    width = Console().width if sys.stdout.isatty() else None
    board = board_of(cells)
    if shifted and not cells.empty:
        print(render_shifted(shifted_priors(Store(results), cells), board, form, width))
    elif protocol == "last" and not cells.empty:
        print(render(board, form, protocol, width, ranks_by_setting(cells), subset_spread(cells)))
    else:
        print(render(board, form, protocol, width))
    return bool((cells.status != "done").any()) if not cells.empty else False


def _listing(what: str, methods_dir: list[Path]) -> dict[str, str]:
    if what == "methods":
        from ltbench.method.registry import discover

        registry = discover(methods_dir)
        for why in registry.broken.values():
            print(f"method left out: {why}", file=sys.stderr)
        return {name: entry.about for name, entry in registry.items()}
    if what == "suites":
        from ltbench.plan.suite import load_suite, suite_names

        return {name: load_suite(name).about for name in suite_names()}
    if what == "datasets":
        from ltbench.data import SOURCES

        about = {name: source.about for name, source in SOURCES.items()}
        return about | {
            "imagefolder:PATH": "any folder of images: PATH/class/image or PATH/{train,val,test}/class/image"
        }
    from ltbench.models import backbone_names

    return dict.fromkeys(backbone_names(), "")


def _existing(results: Path) -> None:
    if not results.is_dir():
        raise InputError(f"results folder {results} does not exist; ltbench run makes one")


def _cells_of(suite: str | None, results: Path) -> set[str] | None:
    """Ids of the cells of a suite; None, for all cells, where none is named."""
    from ltbench.results.status import cell_states
    from ltbench.results.store import Store

    if suite is None:
        return None
    return {cell["id"] for cell in cell_states(Store(results), _known_suite(suite, results))}


def _known_suite(suite: str, results: Path) -> str:
    from ltbench.errors import unknown
    from ltbench.plan.suite import suite_names
    from ltbench.results.store import Store

    ran = {str(plan["suite"]) for plan in Store(results).plans()}
    if suite not in ran | set(suite_names()):
        raise unknown("suite", suite, ran | set(suite_names()))
    return suite


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    parts = re.split(r",(?![^()]*\))", text)  # a comma inside NAME(KEY=VALUE, ...) separates no names
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise InputError("an empty list of names was given; leave the option out for the suite's own")
    return names


def _seeds(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = ()
    if "," not in text and len(numbers) == 1:
        numbers = tuple(range(numbers[0]))
    if not numbers or min(numbers) < 0:
        raise InputError(f"{option} {text} is not understood; allowed: 3 (seeds 0 to 2), 0,4 (these), 4, (this one)")
    return numbers


def _runs(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not (text.isdigit() and 1 <= int(text) <= 16):
        raise InputError(f"--runs-per-device {text} is not understood; allowed: 1 to 16, auto")
    return int(text)


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise InputError(f"{option} {text} is not understood; it is written KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def _shard(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise InputError(f"--shard {text} is not understood; allowed: 1/8 to 8/8 for eight parts")
    return int(part), int(parts)


def _spread(counts: list[int]) -> str:
    return f"{counts[0]} each" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


if __name__ == "__main__":
    main()
