"""Examines what the command line names, and shows what came out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ltbench.check.checks import Check, examine, unusable
from ltbench.check.subject import Outcome, Subject
from ltbench.engine.process import device_of
from ltbench.errors import InputError
from ltbench.method.registry import discover

Outcomes = list[tuple[Check, Outcome]]
MARKS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "not applicable": "–"}


def examine_all(targets: Sequence[str], folders: Sequence[Path], device: str) -> Iterator[tuple[str, Outcomes]]:
    """Examine methods, given by name, pattern or file; gives each one's name and outcomes as soon as it is done.

    Raises:
        InputError: for a name that fits nothing, a file that is not there, and one that is no Python file.
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
    """Whether a target is meant as a file and not as a name."""
    return "/" in target or target.endswith(".py") or Path(target).is_file()


def file_of(target: str) -> Path:
    """The method file that a target names."""
    file = Path(target).expanduser()
    if not file.is_file():
        raise InputError(f"file {target} does not exist; give the name of a method without .py, or the path of a file")
    if file.suffix != ".py":
        raise InputError(f"{target} is not a Python file; a method is one .py file")
    return file


def as_record(outcomes: Outcomes) -> list[dict[str, str]]:
    """The outcomes for a program."""
    return [{"check": check.name, "status": outcome.status, "why": outcome.why} for check, outcome in outcomes]


def print_outcomes(name: str, outcomes: Outcomes) -> None:
    """The outcomes as a table, and the sentence of each check that failed."""
    console = Console()
    table = Table("", "check", "why or how", title=name, title_justify="left")
    for check, outcome in outcomes:
        table.add_row(MARKS[outcome.status], check.name, escape(outcome.why))
    console.print(table)
    for check, outcome in outcomes:
        if outcome.status == "failed":
            console.print(f"{check.name} requires: {check.about}", markup=False)
