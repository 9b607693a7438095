"""A night as a table on the terminal, as Markdown or JSON."""

import json
from typing import Any, Literal

from ltbench.nightly.learning import ALPHA
from ltbench.nightly.night import Night
from ltbench.show.compared import grids, notes, plain_rows, summary
from ltbench.show.tables import text_of


def night_as_text(night: Night, form: Literal["table", "markdown"], width: int | None) -> str:
    """Tables, what they mean, and at the end what fell."""
    lines = [notes(ALPHA), summary(night.changes)] if night.changes else []
    return text_of(grids(night.changes), [*lines, verdict(night)], form, width)


def verdict(night: Night) -> str:
    """One line: what fell, or that nothing did."""
    where = f"{night.folder.name} on {night.machine}"
    if not night.fell:
        return f"Nothing fell in {where}."
    return f"FELL in {where}: {'; '.join(night.fell)}"


def night_as_json(night: Night) -> str:
    """Everything that a night found."""
    found: dict[str, Any] = night.line() | {"folder": str(night.folder), "rows": plain_rows(night.changes)}
    return json.dumps(found, indent=1)
