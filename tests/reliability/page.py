"""The page of all faults, and the faults that the tests name."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltbench import errors

if TYPE_CHECKING:
    from tests.reliability.attack import Row

HERE = Path(__file__).parent
HEAD = """# Reliability

Each row is a fault that a test makes for real: the command that met it, its exit status, and what it prints. No command
prints a traceback, and none writes outside its folders. Exit status 0: the command did its whole job; 1: something
failed or is missing, and is named; 2: wrong input; 130: stopped by Ctrl-C or SIGTERM; 143: ended by a second SIGTERM.
In a command, `…` stands for options that make the run short, for the folder of the test, and for the middle of a very
long word; `ID` stands for the identity of a cell.

At revision a42cad602734, 200 runs were ended by `kill -9` at a random moment (118 of the whole run, 21 of a worker, 17
of the fork server, 18 of the process that follows in MLflow, 26 of all at once) and repeated until done: no record was
lost, doubled or changed (`pytest tests/reliability/test_many_kills.py -m long`; CI kills 20).

Written by `pytest tests/reliability -m 'not long' --page docs/reliability.md`.
"""
SHORT_RUN = "--imbalance 20 --seeds 1 --set recipe.epochs=2"


def page(rows: "Sequence[Row]") -> str:
    """The page as Markdown, one table for each area; a fault that several commands meet is described once."""
    parts = [HEAD]
    for area in sorted({row.area for row in rows}):
        parts.append(f"\n## {area}\n\n| fault | command | status | prints |\n|---|---|--:|---|\n")
        described = ""
        for row in dict.fromkeys(row for row in rows if row.area == area):
            prints = _code(row.says) if row.says else "its usual output" if row.status == 0 else "nothing"
            cells = ("" if row.what == described else row.what, _code(row.command), str(row.status), prints)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
            described = row.what
    return "".join(parts)


def _code(text: str) -> str:
    """A text as code of one line, without identities of cells and most of a long repetition in it."""
    named = re.sub(r"\b[0-9a-f]{16}\b", "ID", text.replace(SHORT_RUN, "…").replace("`", "'"))
    shorter = re.sub(r"(.{1,2}?)\1{15,}", r"\1\1…", named)
    return "`" + errors.printable(shorter).replace("\n", "\\n") + "`"


def named() -> list[tuple[str, str]]:
    """Area and description of every fault that a test of this folder is marked with, as far as they are literals."""
    found = []
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault":
                found.append(tuple(ast.literal_eval(argument) for argument in node.args))
    return found
