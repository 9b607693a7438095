"""Examine the methods that the command line names, and print the outcomes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ltbench.check.checks import Check, examine, unusable
from ltbench.check.subject import Outcome, Subject
from ltbench.data.home import expanded
from ltbench.engine.process import device_of
from ltbench.errors import InputError
from ltbench.method.registry import discover

Outcomes = list[tuple[Check, Outcome]]
MARKS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "not applicable": "–"}


def examine_all(targets: Sequence[str], folders: Sequence[Path], device: str) -> Iterator[tuple[str, Outcomes]]:
    """Examine methods, given by name, pattern or file; yields the name and the outcomes of each when it is finished.

    Raises:
        InputError: for a name that matches no method, and for a file that does not exist or is not a Python file.
    """
    files = {target: file_of(target) for target in targets if is_file(target)}
    registry = discover(folders, list(files.values()))
    patterns = [files[target].stem if target in files else target for target in targets]
    names, broken = registry.match(patterns)
    where = device_of(device)
    for name, why in broken.items():
        yield name, [unusable(why)]
    for name in names:
        yield name, list(examine(Subject.of(registry, name, where)))


def is_file(target: str) -> bool:
    """Whether a target is a file and not a name."""
    return "/" in target or target.endswith(".py") or Path(target).is_file()


def file_of(target: str) -> Path:
    """The method file that a target names."""
    file = expanded(target)
    if not file.is_file():
        raise InputError(f"file {target} does not exist; give the name of a method without .py, or the path of a file")
    if file.suffix != ".py":
        raise InputError(f"{target} is not a Python file; a method is one .py file")
    return file


def as_rows(outcomes: Outcomes) -> list[dict[str, str]]:
    """The outcomes for JSON."""
    return [{"check": check.name, "status": outcome.status, "why": outcome.why} for check, outcome in outcomes]


def print_outcomes(name: str, outcomes: Outcomes) -> None:
    """Print the outcomes as a table, and the requirement of each check that failed."""
    console = Console()
    table = Table("", "check", "remark", title=name, title_justify="left")
    for check, outcome in outcomes:
        table.add_row(MARKS[outcome.status], check.name, escape(outcome.why))
    console.print(table)
    for check, outcome in outcomes:
        if outcome.status == "failed":
            console.print(f"{check.name} requires: {check.about}", markup=False)
