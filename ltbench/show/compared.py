"""The comparison of two results folders, as a table, Markdown or JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from ltbench.results.compared import ALARMS, Change
from ltbench.show.tables import Grid, title

SHOWN = 4
"""Names of what was touched that a line shows at most."""
NOTES = (
    "Differences are paired by seed, ± is the 95 % interval of their mean; better and worse by a t-test over all rows "
    "together (Holm, 5 %). identical: every prediction is equal bit for bit. changed: predictions differ though code "
    "that is the same would repeat them bit for bit there, by no more than noise."
)
HEAD = ["method", "seeds", "before", "after", "difference", "verdict", "touched"]


def grids(changes: Sequence[Change]) -> list[Grid]:
    """A table for each table of the results folders."""
    tables: dict[str, list[list[str]]] = {}
    for change in changes:
        tables.setdefault(title(pd.Series(change.place._asdict())), []).append(_line(change))
    return [Grid(name, HEAD, lines, wraps=True) for name, lines in tables.items()]


def summary(changes: Sequence[Change]) -> str:
    """One line: how many rows have which verdict, and which are beyond noise."""
    verdicts = [change.verdict for change in changes]
    counted = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    alarms = [f"{change.place.entry} ({change.verdict})" for change in changes if change.verdict in ALARMS]
    return f"{len(changes)} rows: {counted}" + (f". Beyond noise: {', '.join(alarms)}" if alarms else "")


def rows_as_json(changes: Sequence[Change]) -> str:
    """The rows with their cells, as JSON; null where a number is not defined."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    rows = [
        {**change.place._asdict(), **{name: plain(value) for name, value in asdict(change).items() if name != "place"}}
        for change in changes
    ]
    return json.dumps(rows, indent=1)


def _line(change: Change) -> list[str]:
    more = len(change.touched) - SHOWN
    return [
        change.place.entry,
        str(len(change.pairs)),
        _number(change.before, ".1f"),
        _number(change.after, ".1f"),
        _number(change.after - change.before, "+.2f") + _number(change.half_width, ".2f", " ± "),
        change.verdict,
        ", ".join(change.touched[:SHOWN]) + (f" and {more} more" if more > 0 else ""),
    ]


def _number(value: float, form: str, before: str = "") -> str:
    return ("" if before else "–") if math.isnan(value) else before + format(value, form)
