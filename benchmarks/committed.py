"""The accuracies that this repository has measured and committed, as leaderboards in Markdown."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Figure:
    """The balanced accuracy of a method in a committed leaderboard."""

    method: str
    accuracy: str
    """In %, with its interval, as the leaderboard shows it."""
    seeds: str
    table: str
    """Title: data set, imbalance, recipe."""
    page: str
    """Path from the root of the repository."""


def figures() -> Iterator[Figure]:
    """Every untuned row of every committed leaderboard: those of docs/quickstart.md and of results/*.md."""
    for page in [ROOT / "docs" / "quickstart.md", *sorted((ROOT / "results").glob("*.md"))]:
        for title, table in re.findall(r"^\*\*(.*·.*)\*\*\n\n((?:\|.*\n)+)", page.read_text(), re.M):
            head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
            for row in (dict(zip(head, cells, strict=True)) for cells in rows):
                if found := re.fullmatch(r"(\w+)(?: @ .*)?", row["method"]):
                    yield Figure(found[1], row["bal. accuracy"], row["seeds"], title, str(page.relative_to(ROOT)))
