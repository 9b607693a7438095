"""The commands about methods, and the lists of everything that has a name: ``ls``, ``new`` and ``check``."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ltbench.cli import options
from ltbench.errors import InputError, printable

PANEL = "Methods and data"
app = typer.Typer()


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench ls methods",
        "ltbench ls backbones 'resnet*'",
        "ltbench ls suites --json",
    ),
)
def ls(
    what: Annotated[
        Literal["methods", "suites", "recipes", "datasets", "backbones"], typer.Argument(help="What to list.")
    ],
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="List only names that match: 'resnet*'.", show_default=False)
    ] = "*",
    methods_dir: options.MethodsDir = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """List methods, suites, recipes, data sets or backbones."""
    from fnmatch import fnmatchcase

    rows = {name: about for name, about in _listing(what, methods_dir).items() if fnmatchcase(name, pattern)}
    if not rows:
        raise InputError(f"no name in {what} matches '{pattern}'; list all with ltbench ls {what}", pattern)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    width = min(40, max((len(name) for name in rows), default=0))
    for name, about in rows.items():
        print(printable(f"{name:{width}}  {about}".rstrip()))


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench new my_method   # creates methods/my_method.py",
    ),
)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the method and of its file.")],
    methods_dir: Annotated[
        Path, typer.Option("--methods-dir", metavar="DIR", help="Folder to write the file into.")
    ] = Path("methods"),
) -> None:
    """Create the file of a new method: an example with comments that already runs."""
    from ltbench.check.template import write_method

    file = write_method(name, methods_dir)
    found = "" if methods_dir.resolve() == Path("methods").resolve() else f" --methods-dir {methods_dir}"
    print(f"created {file}, which already runs. Edit it, then:")
    print(f"  ltbench check {name}{found}")
    print(f"  ltbench run --methods ce,{name}{found}")


@app.command(
    rich_help_panel=PANEL,
    epilog=options.examples(
        "ltbench check my_method",
        "ltbench check 'aux_*'",
        "ltbench check folder/my_method.py",
    ),
)
def check(
    targets: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Methods: names, patterns or files.")],
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Device: auto, cpu, cuda. Two checks use it; without a GPU, a pretended one."
        ),
    ] = "auto",
    methods_dir: options.MethodsDir = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """Test whether methods follow the method contract, and explain each failure."""
    from ltbench.check.report import as_rows, examine_all, print_outcomes

    found = {}
    failed = False
    for name, outcomes in examine_all(targets, methods_dir, device):
        failed |= any(outcome.status == "failed" for _, outcome in outcomes)
        found[name] = as_rows(outcomes)
        if not as_json:
            print_outcomes(name, outcomes)
    if as_json:
        print(json.dumps(found, indent=1))
    raise typer.Exit(1 if failed else 0)


def _listing(what: str, methods_dir: list[Path]) -> dict[str, str]:
    """Every name of a kind, with one line about it."""
    if what == "methods":
        from ltbench.method.registry import discover

        registry = discover(methods_dir)
        for why in registry.broken.values():
            print(f"skipped: {why}", file=sys.stderr)
        return {name: entry.about for name, entry in registry.items()}
    if what == "suites":
        from ltbench.plan.suite import load_suite, suite_names

        return {name: load_suite(name).about for name in suite_names()}
    if what == "recipes":
        from ltbench.plan.recipe import ABOUT

        return ABOUT
    if what == "datasets":
        from ltbench.data.sources import OWN, SOURCES

        return {name: source.about for name, source in SOURCES.items()} | OWN
    from ltbench.models import backbone_names

    return dict.fromkeys(backbone_names(), "")
