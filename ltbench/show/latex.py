"""Tables as LaTeX, for a paper: booktabs, the best value of a column in bold, the second underlined."""

from collections.abc import Sequence

from ltbench.show.grid import Grid

ESCAPES = {"_": r"\_", "%": r"\%", "&": r"\&", "±": r"$\pm$", "★": r"$\star$", "≈": r"$\approx$", "†": r"$\dagger$"}
ESCAPES |= {"‡": r"$\ddagger$", "–": "--", "#": r"\#", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}
ESCAPES |= {"\\": r"\textbackslash{}", "$": r"\$", "{": r"\{", "}": r"\}"}
ESCAPES |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
MARKED = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
NOTE = "Needs \\usepackage{booktabs}. Bold: the best value of a column in its table; underlined: the second."


def latex(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    """Tables as LaTeX; the notes are comments."""
    lines = []
    for grid in grids:
        columns = "l" * grid.left + "r" * (len(grid.head) - grid.left)
        lines += [f"% {grid.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(grid.head), r"\midrule"]
        marks = grid.marks or [[""] * len(grid.head)] * len(grid.rows)
        lines += [_line(row, marked) for row, marked in zip(grid.rows, marks, strict=True)]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {line}" for note in (NOTE, *notes) for line in note.splitlines())])


def _line(texts: Sequence[str], marks: Sequence[str] | None = None) -> str:
    return " & ".join(_cell(text, mark) for text, mark in zip(texts, marks or [""] * len(texts), strict=True)) + r" \\"


def _cell(text: str, mark: str) -> str:
    """A text; of a value with an interval, only the value is marked."""
    value, around, rest = text.partition(" ± ")
    escaped = "".join(ESCAPES.get(c, c) for c in value)
    return (MARKED[mark] % escaped if mark else escaped) + "".join(ESCAPES.get(c, c) for c in around + rest)
