"""The run of a table of the leaderboard: it has the table and its plots as files, once for all of its rows."""

import io
from collections.abc import Mapping
from functools import partial

import pandas as pd

from ltbench.plan.cell import digest
from ltbench.results import diagnostics
from ltbench.results.leaderboard import TABLE
from ltbench.results.record import Record
from ltbench.show.tables import Format, render, title
from ltbench.tracking.runs import SOURCE, Run, milliseconds

PLOTS = ("accuracy", "per_class", "curves")


def key_of(table: pd.Series) -> str:
    """Identifies a table; ``table`` is any row of it."""
    return digest([str(table[name]) for name in TABLE])


def table_run(part: pd.DataFrame, rows: pd.DataFrame, records: Mapping[str, Record]) -> Run:
    """The run of a table.

    Args:
        part: its rows of the leaderboard.
        rows: its cells.
        records: by id.
    """
    forms: dict[str, Format] = {"leaderboard.md": "markdown", "leaderboard.csv": "csv"}
    files = {path: partial(_rendered, part, form) for path, form in forms.items()}
    if part.seeds.any():
        files |= {f"{plot}.png": partial(_drawn, plot, part, rows, records) for plot in PLOTS}
    ends = [milliseconds(record) for record in rows.created]
    return Run(
        kind="table",
        key=key_of(part.iloc[0]),
        name=title(part.iloc[0]),
        params={name: str(part.iloc[0][name]) for name in TABLE if name != "fingerprint"},
        tags={**SOURCE, "protocol": "last", "data": str(part.iloc[0].fingerprint)},
        metrics={"methods": float(len(part)), "seeds": float(part.seeds.sum()), "failed": float(part.failed.sum())},
        files=files,
        made_of=digest(sorted(zip(rows.id, rows.created, strict=True))),
        times=(min(ends), max(ends)),
        status="FINISHED" if part.seeds.any() else "FAILED",
    )


def _rendered(part: pd.DataFrame, form: Format) -> bytes:
    return (render(part, form, "last") + "\n").encode()


def _drawn(plot: str, part: pd.DataFrame, rows: pd.DataFrame, records: Mapping[str, Record]) -> bytes:
    """A plot of a table as PNG."""
    from ltbench.show import figures, style

    if plot == "accuracy":
        figure = figures.accuracy(part)
    elif plot == "per_class":
        figure = figures.per_class(diagnostics.per_class(rows, records), part)
    else:
        figure = figures.curves(diagnostics.curves(rows, records), part)
    image = io.BytesIO()
    with style.style():
        figure.savefig(image, format="png", dpi=100)
    return image.getvalue()
