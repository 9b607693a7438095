"""The command ``nightly``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options
from ltbench.errors import InputError

PANEL = "Results"
BASELINES = "Baselines"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench nightly                                   # in a checkout: is every number as it was?",
        "ltbench nightly -o summary.md --no-tracking       # as a CI job does",
        "ltbench nightly --no-speed                        # accuracy only",
        "ltbench nightly --history                         # every figure over all nights",
        "ltbench nightly --bless --because 'ldam starts from another initialisation, issue 12'",
    ),
)
def nightly(
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="NAME|FILE", help="Suite to train.", rich_help_panel=options.WHAT),
    ] = "nightly",
    learning: Annotated[
        bool,
        typer.Option("--learning/--no-learning", help="Train and compare the methods.", rich_help_panel=options.WHAT),
    ] = True,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed/--no-speed", help="Measure and compare the quick benchmarks.", rich_help_panel=options.WHAT
        ),
    ] = True,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Only show all nights: a table, and two files with a plot of each accuracy and each ratio.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    bless: Annotated[
        bool,
        typer.Option(
            "--bless", help="Make what this night finds the new baseline. Commit its files.", rich_help_panel=BASELINES
        ),
    ] = False,
    because: Annotated[
        str,
        typer.Option(
            "--because",
            metavar="TEXT",
            help="Why the new numbers are right; --bless needs it.",
            rich_help_panel=BASELINES,
        ),
    ] = "",
    night: Annotated[
        Path | None,
        typer.Option(
            "--night",
            metavar="DIR",
            help="Bless the accuracies of this earlier night; train nothing.",
            rich_help_panel=BASELINES,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="DIR",
            help="Folder of the baseline. Default: results/nightly of the checkout that ltbench runs from.",
            rich_help_panel=BASELINES,
        ),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    threads: options.Threads = 1,
    data: options.DataPlaces = [],  # noqa: B006
    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Folder of all nights; each has a results folder in it.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("nightly"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            envvar="GITHUB_STEP_SUMMARY",
            help="Also write the summary as Markdown.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    tracking: Annotated[
        bool,
        typer.Option(
            "--tracking/--no-tracking",
            envvar="LTBENCH_TRACKING",
            help="Add the night to MLflow's experiment 'nightly'.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Compare every method and every quick benchmark with a committed baseline: did a change cost accuracy or speed?

    Every method is trained on small images, in a new results folder. Exit status 1 where something fell: a method that
    differs beyond noise (by a single bit where numbers repeat bit for bit), a cell that failed or is missing, or a
    benchmark that is slower than its limit twice.
    """
    from ltbench.nightly.baseline import CHECKOUT, Baseline
    from ltbench.nightly.run import Nightly, Part
    from ltbench.plan.request import Request
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import reporter
    from ltbench.show.nights import night_as_json, night_as_text

    _check(bless, because, night, learning, speed)
    if history:
        _show_history(folder, as_json)
        return
    asked: dict[Part, bool] = {"learning": learning, "speed": speed}
    parts = [part for part, wanted in asked.items() if wanted]
    request, listen = Request(suite=suite, data=options.places(data)), reporter()
    how = RunOptions(device=device, workers=workers, threads=threads)
    tonight = Nightly(request, how, Baseline(baseline or CHECKOUT / "results" / "nightly"), folder, parts, listen)
    if bless:
        lines = tonight.bless(because, night)
        print(json.dumps(lines) if as_json else "\n".join(lines))
        return
    found = tonight.spend()
    if tracking:
        _track(folder)
    if output is not None:
        output.write_text(night_as_text(found, "markdown", None) + "\n", encoding="utf-8")
    print(night_as_json(found) if as_json else night_as_text(found, "table", _width()))
    raise typer.Exit(1 if found.fell else 0)


def _check(bless: bool, because: str, night: Path | None, learning: bool, speed: bool) -> None:
    """Raise InputError for options that do not fit together."""
    if bless and not because.strip():
        raise InputError("--bless needs a reason; add --because TEXT, such as the change that moved the numbers")
    if because and not bless:
        raise InputError("--because is the reason of --bless; add --bless, or remove --because")
    if night is not None and not (bless and learning):
        raise InputError("--night names what to bless; add --bless --because TEXT, without --no-learning")
    if not (learning or speed):
        raise InputError("--no-learning and --no-speed leave nothing to do; remove one of them")


def _width() -> int | None:
    """Columns of the terminal; None elsewhere."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else None


def _track(folder: Path) -> None:
    """Update MLflow; one line where that fails."""
    from ltbench.results.store import Store
    from ltbench.tracking.sync import sync

    try:
        sync(Store(folder))
    except InputError as error:
        print(f"ltbench: MLflow is not up to date: {error}", file=sys.stderr)


def _show_history(folder: Path, as_json: bool) -> None:
    """Print all nights, and write the plots of their figures."""
    from ltbench.nightly.night import nights
    from ltbench.show.history import history_as_text, write_plots

    history = nights(folder)
    if not history:
        raise InputError(f"no nights in {folder}; run ltbench nightly, or name another folder with --folder DIR")
    if as_json:
        print(json.dumps(history, indent=1))
        return
    print(history_as_text(history, _width()))
    print("\n".join(f"written: {path}" for path in write_plots(history, folder)))
