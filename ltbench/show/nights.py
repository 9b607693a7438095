"""A night as a table on the terminal, as Markdown or JSON."""

import json
from dataclasses import asdict
from typing import Any, Literal

from ltbench.nightly.learning import ALPHA
from ltbench.nightly.night import Night
from ltbench.show.compared import grids, notes, plain_rows, summary
from ltbench.show.grid import Grid
from ltbench.show.tables import text_of

SPEED_NOTE = (
    "Ratios: median time of a benchmark over that of a few steps of the plain loop, measured in turn. A benchmark is "
    "slower if it is above its limit twice; limits follow from the spread of several runs of the same code, so that "
    f"a false alarm is as likely as {100 * ALPHA:.2g} % in a night."
)


def night_as_text(night: Night, form: Literal["table", "markdown"], width: int | None) -> str:
    """Tables, what they mean, and at the end what fell."""
    lines = [notes(ALPHA / 2), summary(night.changes)] if night.changes else []
    if night.together:
        lines.append(
            f"All methods together {night.together}; an alarm below p = {ALPHA / 2:.3g}. It finds a loss of "
            f"{night.together.detectable:.1f} points in 8 of 10 cases."
        )
    speeds = [_speeds(night)] if night.speeds else []
    lines += [SPEED_NOTE] if night.speeds else []
    return text_of([*grids(night.changes), *speeds], [*lines, verdict(night)], form, width)


def _speeds(night: Night) -> Grid:
    rows = [
        [one.name, *(_number(value) for value in (one.usual, one.limit, one.ratio)), one.pace] for one in night.speeds
    ]
    return Grid("speed", ["benchmark", "baseline", "limit", "ratio", "verdict"], rows, wraps=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def verdict(night: Night) -> str:
    """One line: what fell, or that nothing did."""
    where = f"{night.folder.name} on {night.machine}"
    if not night.fell:
        return f"Nothing fell in {where}."
    return f"FELL in {where}: {'; '.join(night.fell)}"


def night_as_json(night: Night) -> str:
    """Everything that a night found."""
    found: dict[str, Any] = night.line() | {"folder": str(night.folder), "rows": plain_rows(night.changes)}
    found |= {"speeds": [asdict(one) for one in night.speeds]}
    return json.dumps(found, indent=1)
