"""The command ``compare``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ltbench.cli import options

PANEL = "Results"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench compare results-of-main results                    # what did my edit change?",
        "ltbench compare old new --format markdown > changes.md",
    ),
)
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Results folder to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Results folder that may differ.")],
    format: Annotated[
        Literal["table", "markdown", "json"], typer.Option(help="Output format.", rich_help_panel=options.OUTPUT)
    ] = "table",
    as_json: options.Json = False,
) -> None:
    """Compare two results folders cell by cell: after an edit, with another version, or from another machine.

    Exit status 1 where a row differs beyond noise: by a paired test, by a single bit where both folders were trained
    so that numbers repeat bit for bit, or because B lacks it.
    """
    from rich.console import Console

    from ltbench.results.compared import ALARMS, compare
    from ltbench.results.store import Store
    from ltbench.show.compared import grids, notes, rows_as_json, summary
    from ltbench.show.tables import text_of

    old, new = (Store(options.existing(folder)).latest().values() for folder in (before, after))
    found = compare(old, new)
    if as_json or format == "json":
        print(rows_as_json(found))
    else:
        width = Console().width if sys.stdout.isatty() else None
        print(text_of(grids(found), [notes(), summary(found)], format, width))
    raise typer.Exit(1 if any(change.verdict in ALARMS for change in found) else 0)
