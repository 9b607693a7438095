"""The commands that read the results folder: ``leaderboard``, ``classes``, ``status``, ``show`` and ``report``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli import options
from ltbench.errors import InputError, printable, unknown

PANEL = "Results"
app = typer.Typer()

if TYPE_CHECKING:
    import pandas as pd

    from ltbench.metrics import Shots
    from ltbench.results.record import Protocol
    from ltbench.show.tables import Format


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench leaderboard --suite cifar100-lt",
        "ltbench leaderboard --format csv -o leaderboard.csv   # every column",
        "ltbench leaderboard --methods 'ce,aux_*' --columns few,ece",
        "ltbench leaderboard --format latex -o table.tex   # for a paper",
    ),
)
def leaderboard(
    suite: options.OfSuite = None,
    protocol: Annotated[
        Literal["last", "val", "best-on-test"],
        typer.Option(
            help="Epoch that counts: the last, the best on validation images (val), or the best on the test set "
            "(best-on-test: optimistic, only to compare with papers)."
        ),
    ] = "last",
    shifted: Annotated[
        bool,
        typer.Option(
            "--shifted",
            help="Show accuracy on long-tailed test sets instead: classes frequent in training are frequent in the "
            "test set (forward), or rare (backward).",
        ),
    ] = False,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Show only these methods, names or patterns separated by commas. Comparisons stay over all methods.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Show only these columns, separated by commas: names as in CSV (balanced_accuracy), or headings.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write.", rich_help_panel=options.OUTPUT),
    ] = None,
    format: options.TableFormat = "table",
    shots: options.ShotGroups = "auto",
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Print the leaderboard of the results folder, without results whose code was edited since."""
    if shifted and protocol != "last":
        raise InputError(f"--shifted works with the last epoch only, not with --protocol {protocol}; remove --protocol")
    if shifted and columns:
        raise InputError("--shifted has columns of its own; remove --columns")
    from ltbench.results.status import ids_of
    from ltbench.results.store import Store

    print_leaderboard(
        results,
        ids_of(suite, Store(options.existing(results))),
        "json" if as_json else format,
        protocol,
        shifted,
        shots=options.shots(shots),
        methods_dirs=methods_dir,
        methods=options.names(methods),
        columns=options.names(columns),
        output=output,
    )


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench classes crt --suite cifar10-lt",
        "ltbench classes crt --format csv > classes.csv   # one row a class",
    ),
)
def classes(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Method, as the leaderboard prints it: crt, 'focal(gamma=2.0)'.")
    ],
    suite: options.OfSuite = None,
    matrix: Annotated[
        bool | None,
        typer.Option(
            "--matrix/--no-matrix",
            help="Show the confusion matrix. Default: with at most 20 classes, if it fits.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[int, typer.Option(metavar="N", min=0, help="Most confused pairs of classes to show.")] = 10,
    format: options.TableFormat = "table",
    shots: options.ShotGroups = "auto",
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Print the recall of each class, the gain over ce, and which classes a method confuses."""
    from rich.console import Console

    from ltbench.results.classes import class_reports
    from ltbench.results.leaderboard import load_results
    from ltbench.results.status import ids_of
    from ltbench.results.store import Store
    from ltbench.show.classes import render_classes

    store = Store(options.existing(results))
    ids = ids_of(suite, store)
    groups = options.shots(shots)
    cells = load_results(store, ids=ids, shots=groups, methods_dirs=methods_dir)
    methods = set() if cells.empty else set(cells.method[cells.status == "done"])
    if method not in methods:
        raise unknown("method with results", method, methods, "" if methods else f"{results} has no finished cell")
    width = Console().width if sys.stdout.isatty() else None
    found = class_reports(cells, store.latest(), store, [method], groups)[method]
    print(render_classes(found, "json" if as_json else format, width, pairs, matrix))


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench status",
        "ltbench status --json   # every cell with its id",
    ),
)
def status(
    suite: options.OfSuite = None,
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Show which cells are done, running, failed or to do, and which results are stale, with the reasons."""
    from rich.console import Console
    from rich.table import Table

    from ltbench.results.status import STATES, cell_states, counts, known_suite, stale_lines, with_changes
    from ltbench.results.store import Store

    store = Store(options.existing(results))
    cells = cell_states(store, None if suite is None else known_suite(suite, store))
    cells = with_changes(cells, store, methods_dir)
    if as_json:
        print(json.dumps(cells, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 140, markup=False)
    table = Table("suite", *STATES)
    for name, count in counts(cells).items():
        table.add_row(printable(name), *(str(count[state]) for state in STATES))
    console.print(table)
    for cell in cells:
        if cell["state"] in ("failed", "running"):
            name = f"{cell['dataset']} / {cell['imbalance']} / {cell['method']} / seed {cell['seed']}"
            line = f"{cell['state']}: {cell['id']} {name}{': ' + cell['reason'] if cell['reason'] else ''}"
            console.print(printable(line))
    for line in stale_lines((cell["method"], cell["changed"]) for cell in cells):
        console.print(line, highlight=False, soft_wrap=True)


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench show 3f9a",
        "ltbench show 3f9a --json   # the stored record",
    ),
)
def show(
    cell: Annotated[str, typer.Argument(metavar="ID", help="Id of the cell, or its first characters.")],
    results: options.Results = Path("results"),
    as_json: options.Json = False,
) -> None:
    """Show everything about one cell, and the command that repeats it."""
    from ltbench.results.store import Store

    found = Store(options.existing(results)).one(cell)
    if as_json:
        print(json.dumps(found.model_dump(mode="json"), indent=1))
        return
    from ltbench.show.record import print_record

    print_record(found)


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench report",
        "ltbench report --output page.html --figures figures",
    ),
)
def report(
    suite: options.OfSuite = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.", rich_help_panel=options.OUTPUT),
    ] = Path("report.html"),
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write every plot as PNG and PDF, and every table as Markdown, CSV and LaTeX, into this folder.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    shots: options.ShotGroups = "auto",
    methods_dir: options.MethodsDir = [],  # noqa: B006
    results: options.Results = Path("results"),
) -> None:
    """Write one HTML page with all tables and plots, and a comparison with published results."""
    from ltbench.results.status import ids_of
    from ltbench.results.store import Store
    from ltbench.show.page import write_report

    ids = ids_of(suite, Store(options.existing(results)))
    groups = options.shots(shots)
    for file in write_report(results, output, ids, figures, shots=groups, methods_dirs=methods_dir):
        print(file)


def print_leaderboard(
    results: Path,
    ids: set[str] | None,
    form: "Format",
    protocol: "Protocol" = "last",
    shifted: bool = False,
    *,
    shots: "Shots" = "auto",
    methods_dirs: Sequence[Path] = (),
    methods: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    output: Path | None = None,
) -> bool:
    """Print the leaderboard, or the accuracy under shifted test priors.

    Args:
        results: the results folder.
        ids: of the cells to show; None: of all.
        form: output format.
        protocol: the epoch that counts.
        shifted: whether to print the accuracy under shifted test priors instead.
        shots: groups of classes.
        methods_dirs: folders with method files, besides ``./methods``.
        methods: names or patterns of the methods to show; None: all.
        columns: names of the columns to show; None: all.
        output: file to write instead of printing.

    Returns:
        Whether a cell failed.
    """
    from rich.console import Console

    from ltbench.results.across_tables import ranks_by_setting, shifted_priors, subset_spread
    from ltbench.results.decoupling import decoupling
    from ltbench.results.files import write_whole
    from ltbench.results.leaderboard import leaderboard as board_of
    from ltbench.results.leaderboard import load_results
    from ltbench.results.status import none_to_show, stale_lines
    from ltbench.results.store import Store
    from ltbench.show.tables import render, render_shifted

    found = load_results(options.existing(results), protocol, ids, shots=shots, methods_dirs=methods_dirs)
    cells = found[found.status != "stale"] if len(found) else found
    for line in stale_lines(zip(found.get("method", ()), found.get("changed", ()), strict=True)):
        print(line, file=sys.stderr)
    if cells.empty and form == "table":
        print(none_to_show(results, len(found)), file=sys.stderr)
        return False
    width = Console().width if sys.stdout.isatty() and output is None else None
    whole = board_of(cells)
    board = whole if methods is None else _only(whole, methods)
    if shifted and not cells.empty:
        text = render_shifted(shifted_priors(Store(results), cells), board, form, width)
    elif protocol == "last" and not cells.empty and methods is None and columns is None:
        ranks, spread, decoupled = ranks_by_setting(cells), subset_spread(cells), decoupling(cells, board)
        text = render(board, form, protocol, width, ranks, spread, decoupled)
    else:
        text = render(board, form, protocol, width, columns=columns)
    if output is None:
        print(text)
    else:
        write_whole(output, f"{text}\n".encode())
    return not cells.empty and bool((cells.status == "failed").any())


def _only(board: "pd.DataFrame", methods: Sequence[str]) -> "pd.DataFrame":
    """The rows of these methods, by names or patterns."""
    from fnmatch import fnmatchcase

    for wanted in methods:
        if not any(fnmatchcase(method, wanted) or method == wanted for method in board.method):
            raise unknown("method with results", wanted, set(board.method))
    return board[[any(fnmatchcase(m, wanted) or m == wanted for wanted in methods) for m in board.method]]
