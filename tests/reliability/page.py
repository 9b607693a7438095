"""The page of all faults, and the faults that the tests name."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reliability.attack import Row

HERE = Path(__file__).parent
HEAD = """# Reliability

Each line is a fault that a test makes for real: what was done, the command that met it, the exit status, and what it
prints. No command prints a traceback, and none writes outside its folders. Exit status 0: the command did its whole
job; 1: a cell failed or is missing, and is named; 2: wrong input; 130: stopped by Ctrl-C or SIGTERM.

Written by `pytest tests/reliability -m 'not long' --page docs/reliability.md`.
"""


def page(rows: "Sequence[Row]") -> str:
    """The page as Markdown, one table for each area."""
    parts = [HEAD]
    for area in dict.fromkeys(row.area for row in rows):
        parts.append(f"\n## {area}\n\n| fault | command | status | says |\n|---|---|--:|---|\n")
        for row in rows:
            if row.area == area:
                cells = (row.what, f"`{row.command}`", str(row.status), row.says)
                parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def named() -> list[tuple[str, str]]:
    """Area and description of every fault that a test of this folder is marked with, as far as they are literals."""
    found = []
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault":
                found.append(tuple(ast.literal_eval(argument) for argument in node.args))
    return found
