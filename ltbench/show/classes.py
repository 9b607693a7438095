"""A method's classes as text: for a terminal, as Markdown, LaTeX, CSV or JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ltbench.errors import InputError
from ltbench.results.classes import ClassReport
from ltbench.show.columns import Row, rows_of
from ltbench.show.grid import Grid
from ltbench.show.tables import Format, for_spreadsheets, shots_note, text_of, title

FEW_CLASSES = 20
"""Up to so many classes the confusion matrix is shown without being asked for."""
FILE_WIDTH = 200
"""Columns of a table that is not printed to a terminal."""
HEAD = ["class", "group", "images", "tested", "recall", "95 % interval"]


def render_classes(
    reports: Sequence[ClassReport], form: Format, width: int | None = None, most: int = 10, matrix: bool | None = None
) -> str:
    """The classes of a method in each of its tables.

    Args:
        reports: of one method, at least one.
        form: output format. CSV has one row a class, with the row of the confusion matrix if it is shown.
        width: of the terminal in columns; None: that of a file.
        most: number of confused pairs.
        matrix: whether to show the confusion matrix; None: up to `FEW_CLASSES` classes, if it fits.

    Raises:
        InputError: where the terminal is too narrow for a matrix that was asked for.
    """
    fits = [form != "table" or _matrix_width(report) <= (width or FILE_WIDTH) for report in reports]
    if matrix and not all(fits):
        raise InputError(
            "the confusion matrix is wider than the terminal; use --format csv, json or markdown, or --no-matrix"
        )
    few = [len(report.frame) <= FEW_CLASSES for report in reports]
    shown = [a and b for a, b in zip(few, fits, strict=True)] if matrix is None else [matrix] * len(reports)
    if form == "json":
        return json.dumps([_as_json(r, most, full) for r, full in zip(reports, shown, strict=True)], indent=1)
    if form == "csv":
        rows = pd.concat([_as_rows(r, full) for r, full in zip(reports, shown, strict=True)])
        return for_spreadsheets(rows).to_csv(index=False).rstrip()
    grids = [grid for r, full in zip(reports, shown, strict=True) for grid in grids_of(r, most, full)]
    hidden = ["Hidden in this narrow terminal: the confusion matrix. See it with --format markdown."]
    narrow = matrix is None and shown != few
    return text_of(grids, notes_of(reports) + hidden * narrow, form, width)


def class_name(row: Row) -> str:
    """A class as tables print it: its label, and its name where that is not the label."""
    return str(row["class"]) if row["name"] == str(row["class"]) else f"{row['class']} {row['name']}"


def recall_texts(report: ClassReport) -> list[list[str]]:
    """The rows of the table of recalls: the columns ``HEAD``, and the gain where there is a baseline."""
    return [
        [
            class_name(row),
            row["group"],
            str(row["images"]),
            str(row["test_images"]),
            _number(row["recall"]),
            "–" if math.isnan(row["low"]) else f"{row['low']:.1f} to {row['high']:.1f}",
            *([_gain(row)] if report.baseline else []),
        ]
        for row in rows_of(report.frame)
    ]


def head_of(report: ClassReport) -> list[str]:
    """The headings of ``recall_texts``."""
    return [*HEAD, *([f"gain over {report.baseline}"] if report.baseline else [])]


def pair_texts(report: ClassReport, most: int) -> list[list[str]]:
    """The most confused pairs: true class, predicted class, share of the true class's images."""
    names = [class_name(row) for row in rows_of(report.frame)]
    return [[names[r["true"]], names[r["predicted"]], f"{r['share']:.1f}"] for r in rows_of(report.pairs(most))]


def grids_of(report: ClassReport, most: int, matrix: bool) -> list[Grid]:
    """The tables of a report: recalls, confused pairs and, if wanted, the confusion matrix."""
    name = f"{report.method} · {title(pd.Series(report.place))}"
    grids = [Grid(f"{name} · recall of each class", head_of(report), recall_texts(report), left=2)]
    if report.confusion is None:
        return grids
    if pairs := pair_texts(report, most):
        grids.append(Grid(f"{name} · most confused", ["class", "taken for", "%"], pairs, left=2))
    if matrix:
        rows = [
            [class_name(row), *(_number(share) for share in shares)]
            for row, shares in zip(rows_of(report.frame), report.confusion, strict=True)
        ]
        grids.append(Grid(f"{name} · confusion matrix", ["true", *map(str, report.frame["class"])], rows))
    return grids


def page_grids(report: ClassReport) -> list[Grid]:
    """The tables of a report for the page: with many classes, those with the lowest recalls and no confusion matrix."""
    few = len(report.frame) <= FEW_CLASSES
    of_recalls, *others = grids_of(report, 10, matrix=few)
    if few:
        return [of_recalls, *others]
    lowest = report.frame.recall.sort_values(kind="stable").index[:FEW_CLASSES]
    name = f"{of_recalls.title}: the {FEW_CLASSES} lowest of {len(report.frame)}"
    return [replace(of_recalls, title=name, rows=[of_recalls.rows[label] for label in lowest]), *others]


def notes_of(reports: Sequence[ClassReport]) -> list[str]:
    """What a reader must know about the tables."""
    notes = ["images: of the class in training; tested: in the test set."]
    if any(report.seeds > 1 for report in reports):
        notes.append(
            "recall: mean over seeds in %, with the 95 % interval over seeds (where all seeds agree: Jeffreys' over "
            "test images)."
        )
    if any(report.seeds == 1 for report in reports):
        notes.append(
            "One seed: recall in % with Jeffreys' 95 % interval over test images, without seed-to-seed variation."
        )
    if baselines := list(dict.fromkeys(report.baseline for report in reports if report.baseline)):
        notes.append(
            f"gain over {', '.join(baselines)}: in points, on the seeds that both have, ± 95 % interval over seeds. "
            "Intervals are for each class alone: among many classes some exclude 0 by chance."
        )
    shots = dict.fromkeys(report.place["shots"] for report in reports)
    notes += [f"many / medium / few: {shots_note(each)}." for each in shots]
    if any(report.confusion is not None for report in reports):
        notes.append("Confusions: % of the test images of the true class (row), means over seeds.")
    missing = [cell for report in reports for cell in report.missing]
    return notes + (
        [f"Cells without stored predictions are not in the confusions: {', '.join(missing)}."] * bool(missing)
    )


def _matrix_width(report: ClassReport) -> int:
    """Columns of a terminal that the confusion matrix needs at most: names, and 8 for each class."""
    return max(len(class_name(row)) for row in rows_of(report.frame)) + 4 + 8 * len(report.frame)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _gain(row: Row) -> str:
    if math.isnan(row["gain"]):
        return "–"
    return f"{row['gain']:+.1f}" + ("" if math.isnan(row["gain_interval"]) else f" ± {row['gain_interval']:.1f}")


def _as_rows(report: ClassReport, matrix: bool) -> pd.DataFrame:
    frame = report.frame.assign(method=report.method, seeds=report.seeds, **report.place)
    if matrix and report.confusion is not None:
        shares = pd.DataFrame(report.confusion, columns=[f"predicted_{label}" for label in frame["class"]])
        frame = pd.concat([frame, shares], axis=1)
    return frame


def _as_json(report: ClassReport, most: int, matrix: bool) -> dict[str, Any]:
    def values(frame: pd.DataFrame) -> Any:
        return json.loads(frame.to_json(orient="records", double_precision=15))

    shares = None if report.confusion is None or not matrix else pd.DataFrame(report.confusion)
    return {
        **{name: value.item() if isinstance(value, np.generic) else value for name, value in report.place.items()},
        "method": report.method,
        "seeds": report.seeds,
        "baseline": report.baseline,
        "classes": values(report.frame),
        "pairs": values(report.pairs(most)),
        "confusion": None if shares is None else json.loads(shares.to_json(orient="values", double_precision=15)),
    }
