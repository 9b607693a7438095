"""The command ``clean``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options
from ltbench.errors import unknown

PANEL = "Results"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench clean                                    # only show",
        "ltbench clean --delete superseded,temporary",
    ),
)
def clean(
    delete: Annotated[
        str | None,
        typer.Option(metavar="KINDS", help="Kinds of files to delete, separated by commas.", show_default=False),
    ] = None,
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Show how much space files take that can be made again, and delete kinds of them. Results are never deleted."""
    from rich.console import Console
    from rich.table import Table

    from ltbench.data.home import data_folder
    from ltbench.results.space import KINDS, spaces
    from ltbench.results.store import Store
    from ltbench.units import mebibytes

    chosen = options.names(delete) or ()
    for kind in chosen:
        if kind not in KINDS:
            raise unknown("kind of files", kind, KINDS)
    found = spaces(Store(options.existing(results)), data_folder())
    if as_json:
        rows = [{"kind": space.kind, "files": len(space.files), "bytes": space.size_bytes} for space in found]
        print(json.dumps(rows, indent=1))
    else:
        table = Table("kind", "files", "size", "what they are")
        for space in found:
            table.add_row(space.kind, str(len(space.files)), mebibytes(space.size_bytes), KINDS[space.kind])
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    for space in found:
        if space.kind in chosen:
            size = mebibytes(space.size_bytes)
            for file in space.files:
                file.unlink(missing_ok=True)
            print(f"deleted {len(space.files)} files of kind {space.kind}, {size}", file=sys.stderr)
