"""The command line: words and exit statuses. Everything heavy is imported inside the command that uses it."""

import sys
from typing import Annotated

import typer

from ltbench import __version__
from ltbench.cli import clean, compare, data, export, methods, mlflow, results, run, verify
from ltbench.cli.options import examples
from ltbench.errors import InputError

app = typer.Typer(
    name="ltbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples(
        "ltbench run                        # the quickstart: a table in about a minute",
        "ltbench run --methods ce,crt       # two methods only",
        "ltbench run --suite cifar100-lt    # another suite",
        "ltbench new my_method              # your own method",
    ),
)
for group in (run, results, compare, verify, clean, export, methods):
    app.add_typer(group.app)
app.add_typer(data.app, name="data", rich_help_panel=methods.PANEL)
app.add_typer(mlflow.app)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Which long-tailed learning method should I use, and by how much is it better?

    Train methods on the same data with the same recipe and seeds, and compare them in a leaderboard.
    """
    if version:
        print(f"ltbench {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; wrong input is one line on stderr and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"ltbench: {error}", file=sys.stderr)
        sys.exit(2)
