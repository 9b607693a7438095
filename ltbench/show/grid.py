"""A table as text, whatever it is printed as."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from ltbench.errors import printable


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        left: number of columns that are flush left.
        styles: of the rows, in a terminal.
        marks: of the cells, as the rows: ``best``, ``second`` or nothing; only LaTeX shows them.
        wraps: whether a narrow terminal breaks the lines of its cells, instead of hiding columns.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    left: int = 1
    styles: list[str | None] | None = None
    marks: list[list[str]] | None = None
    wraps: bool = False

    def without(self, headings: Collection[str]) -> "Grid":
        """The same with fewer columns."""
        shown = [i for i, name in enumerate(self.head) if name not in headings]
        rows = [[row[i] for i in shown] for row in self.rows]
        return replace(self, head=[self.head[i] for i in shown], rows=rows)

    def printable(self) -> "Grid":
        """The same without control characters, each text on one line."""

        def plain(text: str) -> str:
            return printable(text.replace("\n", " "))

        rows = [[plain(text) for text in row] for row in self.rows]
        return replace(self, title=plain(self.title), head=[plain(name) for name in self.head], rows=rows)
