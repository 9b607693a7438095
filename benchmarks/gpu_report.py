"""The rows that ``gpu_check`` has measured so far, as JSON, and their Markdown page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a file, in order; an incomplete last line, of a process that was killed, is skipped."""
    rows: list[Row] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def add(path: Path, row: Row) -> None:
    """Add a row to a file."""
    with path.open("a") as file:
        file.write(json.dumps(row, default=str) + "\n")


def of(rows: Sequence[Row], section: str, **values: Any) -> list[Row]:
    """The rows of a section that have these values."""
    return [row for row in rows if row["section"] == section and all(row.get(k) == v for k, v in values.items())]


def warnings(rows: Sequence[Row]) -> list[str]:
    """Sections that did not finish, errors, and steps that ran in another tier than the one asked for."""
    found = [
        f"section {row['name']} {row['status']} after {row['seconds']:.0f} s: {row['why']}"
        for row in of(rows, "sections")
        if row["status"] != "done"
    ]
    for row in rows:
        if row.get("wanted", row.get("ran")) != row.get("ran"):
            name = row.get("method", row.get("precision", ""))
            found.append(f"{row['section']} {name}: asked for {row['wanted']}, ran {row['ran']}: {row.get('reason')}")
        if row.get("error"):
            found.append(f"{row['section']} {row.get('method', '')}: {row['error']}")
    return found


def table(rows: Sequence[Row]) -> list[str]:
    """Rows as a Markdown table, with a column for each key."""

    def text(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value).replace("|", "/")

    head = list(dict.fromkeys(key for row in rows for key in row))
    lines = [head, ["---"] * len(head), *([text(row.get(name)) for name in head] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] if rows else ["nothing"]


def markdown(rows: Sequence[Row], targets: Sequence[Row], defaults: Sequence[Row]) -> str:
    """The page: warnings first, then the defaults that follow, the targets, and the rows of every section."""
    asked = next(iter(of(rows, "command")), {"device": "an unknown device"})
    names = list(dict.fromkeys(row["section"] for row in rows))
    device = next((row["device_name"] for row in of(rows, "smoke") if "device_name" in row), asked["device"])
    lines = [f"# GPU check on {device}", ""]
    if asked["device"] == "pretended":
        lines += ["**The device is pretended: no time, default or target on this page means anything.**", ""]
    lines += [*(f"**Warning:** {line}  " for line in warnings(rows)), ""]
    lines += ["## Defaults that follow", "", *table(defaults), "", "## Targets", "", *table(targets), ""]
    for name in names:
        own = [{key: value for key, value in row.items() if key != "section"} for row in of(rows, name)]
        lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
        for shape in dict.fromkeys(tuple(row) for row in own):
            lines += [*table([row for row in own if tuple(row) == shape]), ""]
    return "\n".join(lines)
