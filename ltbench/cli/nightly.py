"""The command ``nightly``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options
from ltbench.cli.run import interruptible
from ltbench.errors import InputError

PANEL = "Results"
BASELINES = "Baselines"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench nightly                                   # in a checkout: is every number as it was?",
        "ltbench nightly -o summary.md                     # as a CI job does",
        "ltbench nightly --bless --because 'ldam starts from another initialisation, issue 12'",
    ),
)
def nightly(
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="NAME|FILE", help="Suite to train.", rich_help_panel=options.WHAT),
    ] = "nightly",
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
    as_json: options.Json = False,
) -> None:
    """Train every method on small images and compare the numbers with a committed baseline.

    Exit status 1 where something fell: a row that differs beyond noise (by a single bit where numbers repeat bit for
    bit), a cell that failed or is missing.
    """
    from rich.console import Console

    from ltbench.nightly import run
    from ltbench.nightly.baseline import CHECKOUT, Baseline
    from ltbench.plan.request import Request
    from ltbench.runner.options import RunOptions
    from ltbench.runner.progress import reporter
    from ltbench.show.nights import night_as_json, night_as_text

    if bless and not because.strip():
        raise InputError("--bless needs a reason; add --because TEXT, such as the change that moved the numbers")
    request, listen = Request(suite=suite, data=options.places(data)), reporter()
    how = RunOptions(device=device, workers=workers, threads=threads)
    against = Baseline(baseline or CHECKOUT / "results" / "nightly")
    with interruptible(listen):
        if bless:
            print("\n".join(run.bless(request, how, against, folder, because, listen)))
            return
        night = run.spend_night(request, how, against, folder, listen)
    if output is not None:
        output.write_text(night_as_text(night, "markdown", None) + "\n", encoding="utf-8")
    width = Console().width if sys.stdout.isatty() else None
    print(night_as_json(night) if as_json else night_as_text(night, "table", width))
    raise typer.Exit(1 if night.fell else 0)
