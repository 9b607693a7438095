"""The command ``verify``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli import options
from ltbench.errors import InputError

PANEL = "Results"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench verify                    # every finished cell",
        "ltbench verify 3f9a 77b0          # two of them",
        "ltbench verify --retrain 3f9a     # train it again, and compare every bit",
    ),
)
def verify(
    cells: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of cells, or their first characters.")
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Also train the cells again, and compare every bit. A cell that was trained in another environment, "
            "where numbers are rounded differently, is not checked.",
        ),
    ] = False,
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Check that every number follows from what is stored: predictions, metrics, settings, code and images."""
    from ltbench.results.store import Store
    from ltbench.results.verify import Verifier

    store, damaged = Store(options.existing(results)), list[InputError]()
    records = [record for record in store.latest(damaged=damaged).values() if record.result is not None]
    for prefix in cells or ():
        if not any(record.id.startswith(prefix) for record in records):
            raise InputError(
                f"no finished cell begins with '{prefix}' in {results}; list them with ltbench status --json"
            )
    if cells:
        records = [record for record in records if record.id.startswith(tuple(cells))]
    verifier = Verifier(store, methods_dir)
    problems = {record.id: verifier.problems(record) for record in records}
    skipped = dict[str, str]()
    if retrain:
        from ltbench.runner.retrain import not_repeatable_here
        from ltbench.runner.retrain import retrain as train_again

        for record in records:
            if why := not_repeatable_here(record):
                skipped[record.id] = why
            elif not problems[record.id]:
                print(f"training {record.id} again", file=sys.stderr)
                problems[record.id] = train_again(record, store, methods_dir)
    if as_json:
        rows = [{"id": cell, "problems": found, "not_retrained": skipped.get(cell)} for cell, found in problems.items()]
        print(json.dumps(rows, indent=1))
    else:
        for error in damaged:
            print(error)
        wrong = {cell: found for cell, found in problems.items() if found}
        for cell, found in wrong.items():
            print(*(f"{cell}: {problem}" for problem in found), sep="\n")
        for line in verifier.not_checked:
            print(line)
        for cell, why in skipped.items():
            print(f"{cell}: not trained again here: {why}")
        again = f", {len(records) - len(skipped) - len(wrong)} trained again with equal bits" if retrain else ""
        print(f"{len(records)} finished cells: {len(records) - len(wrong)} agree, {len(wrong)} do not{again}")
    raise typer.Exit(1 if damaged or any(problems.values()) else 0)
