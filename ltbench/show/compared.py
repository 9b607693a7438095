"""The comparison of two results folders, as a table, Markdown or JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from ltbench.results.compared import ALARMS, Change
from ltbench.results.statistics import LEVEL
from ltbench.show.grid import Grid
from ltbench.show.tables import title

SHOWN = 4
"""Names of what was touched that a line shows at most."""
HEAD = ["method", "seeds", "before", "after", "difference", "finds", "verdict", "touched"]


def notes(alpha: float = 1 - LEVEL) -> str:
    """What the columns say; ``alpha`` is the probability of a false alarm among all rows together."""
    return (
        "Balanced accuracy in %. Differences are paired by seed, ± is the 95 % interval of their mean; better and "
        f"worse by a t-test over all rows together (Holm, {100 * alpha:.3g} %). finds: the loss in points that this "
        "test finds in 8 of 10 cases (any: numbers repeat bit for bit there). identical: every prediction is equal bit "
        "for bit. changed: predictions differ where equal code repeats them bit for bit, by no more than noise."
    )


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
    return json.dumps(plain_rows(changes), indent=1)


def plain_rows(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The rows with their cells, as values of JSON."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return [
        {**change.place._asdict(), **{name: plain(value) for name, value in asdict(change).items() if name != "place"}}
        for change in changes
    ]


def _line(change: Change) -> list[str]:
    more = len(change.touched) - SHOWN
    return [
        change.place.entry,
        str(len(change.pairs)),
        _number(change.before, ".1f"),
        _number(change.after, ".1f"),
        _number(change.after - change.before, "+.2f") + _number(change.half_width, ".2f", " ± "),
        "any" if change.detectable == 0 else _number(change.detectable, ".1f"),
        change.verdict,
        ", ".join(change.touched[:SHOWN]) + (f" and {more} more" if more > 0 else ""),
    ]


def _number(value: float, form: str, before: str = "") -> str:
    return ("" if before else "–") if math.isnan(value) else before + format(value, form)
