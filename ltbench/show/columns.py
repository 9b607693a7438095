"""The columns of the leaderboard: the one list behind terminal, Markdown, LaTeX, footnotes, page and MLflow.

A new column is one entry of ``COLUMNS``. CSV and JSON have every column of the frame.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ltbench.errors import unknown
from ltbench.plan.cell import BASELINE
from ltbench.results.papers import MARGIN
from ltbench.results.statistics import LEVEL
from ltbench.units import duration

Row = Mapping[str, Any]
"""A row of a frame, by column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        key: column of the frame; the page sorts by its values, and MLflow stores them.
        heading: short name.
        about: definition, with the unit.
        format: the text of a finished row whose value is not missing.
        dropped: place in the order in which a narrow terminal drops columns, 1 first; None: never dropped.
        absent_if_empty: whether a table without any value skips the column.
        footnote: whether tables define the column in a footnote.
        page_only: whether only the page shows the column.
        words: whether its values are words, which MLflow does not store as a metric.
        better: ``high`` or ``low`` values, where some are better; LaTeX marks the best ones.
        paper: whether a table for a paper shows the column, unless others are asked for.
    """

    key: str
    heading: str
    about: str
    format: Callable[[Row], str]
    dropped: int | None = None
    absent_if_empty: bool = False
    footnote: bool = False
    page_only: bool = False
    words: bool = False
    better: Literal["high", "low", ""] = ""
    paper: bool = False

    def text(self, row: Row) -> str:
        """The text in a table; ``–`` for a missing value, and nothing in a failed row."""
        if not row["seeds"] and self.key != "seeds":
            return "failed" if self is COLUMNS[0] else ""
        return "–" if pd.isna(row[self.key]) else self.format(row)


def columns_of(board: pd.DataFrame, page: bool = False) -> list[Column]:
    """The columns to show of these rows of the leaderboard, on the page or in other tables."""
    wanted = (column for column in COLUMNS if page or not column.page_only)
    return [column for column in wanted if not (column.absent_if_empty and board[column.key].isna().all())]


def chosen(names: Sequence[str]) -> list[Column]:
    """Columns by their names in the CSV, or by their headings.

    Raises:
        InputError: for an unknown name.
    """
    by_name = {name: column for column in COLUMNS for name in (column.heading.lower(), column.key)}
    for name in names:
        if name.lower() not in by_name:
            raise unknown("column", name, [column.key for column in COLUMNS])
    return [by_name[name.lower()] for name in dict.fromkeys(names)]


def best_two(column: Column, rows: Sequence[Row]) -> dict[str, str]:
    """Which texts of a column are ``best`` and ``second``; equal texts are alike."""
    finished = [row for row in rows if column.better and row["seeds"] and not pd.isna(row[column.key])]
    ordered = sorted(finished, key=lambda row: float(row[column.key]), reverse=column.better == "high")
    shown = dict.fromkeys(column.text(row).split(" ± ")[0] for row in ordered)
    return dict(zip(shown, ("best", "second"), strict=False))


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def dropping_order() -> list[str]:
    """Headings of the columns that a narrow terminal drops, in this order."""
    dropped = {column.heading: column.dropped for column in COLUMNS if column.dropped is not None}
    return sorted(dropped, key=dropped.__getitem__)


def _number(key: str, form: str = ".1f") -> Callable[[Row], str]:
    return lambda row: format(row[key], form)


def _accuracy(row: Row) -> str:
    mark = "†" if row["interval_from"] == "images" else ""
    around = "" if math.isnan(row["interval"]) else f" ± {row['interval']:.1f}{mark}"
    return f"{row['balanced_accuracy']:.1f}{around}"


def _difference(row: Row) -> str:
    mark = "*" if row["p_to_ce"] < 1 - LEVEL else ""
    return f"{row['difference_to_ce']:+.1f} ± {row['difference_to_ce_interval']:.1f}{mark}"


def _p_value(key: str) -> Callable[[Row], str]:
    return lambda row: "< 0.001" if row[key] < 0.001 else f"{row[key]:.3f}"


def _train(row: Row) -> str:
    return duration(row["train_seconds"]) + ("‡" if row["runs_together"] > 1 else "")


def _seeds(row: Row) -> str:
    return f"{row['seeds']} of {row['seeds'] + row['failed']}" if row["failed"] else str(row["seeds"])


COLUMNS = (
    Column(
        key="balanced_accuracy",
        heading="bal. accuracy",
        about="mean recall over classes in %, ± 95 % interval over seeds († over test images)",
        format=_accuracy,
        footnote=True,
        better="high",
        paper=True,
    ),
    Column(
        key="difference_to_ce",
        heading=f"vs {BASELINE}",
        about=f"difference to {BASELINE} in points, ± interval; * the interval excludes 0",
        format=_difference,
        dropped=9,
        absent_if_empty=True,
        footnote=True,
    ),
    Column(
        key="p_to_ce",
        heading=f"p ({BASELINE})",
        about=f"p value of the difference to {BASELINE}, adjusted so that at most 5 % of the claims are false",
        format=_p_value("p_to_ce"),
        absent_if_empty=True,
        page_only=True,
    ),
    Column(
        key="p_to_best",
        heading="p (best)",
        about="p value of the difference to the best method, adjusted for all pairs of the table",
        format=_p_value("p_to_best"),
        absent_if_empty=True,
        page_only=True,
    ),
    Column(
        key="many",
        heading="many",
        about="accuracy on many-shot classes in %",
        format=_number("many"),
        dropped=11,
        better="high",
        paper=True,
    ),
    Column(
        key="medium",
        heading="medium",
        about="accuracy on medium-shot classes in %",
        format=_number("medium"),
        dropped=10,
        better="high",
        paper=True,
    ),
    Column(
        key="few",
        heading="few",
        about="accuracy on few-shot classes in %",
        format=_number("few"),
        better="high",
        paper=True,
    ),
    Column(
        key="worst_class",
        heading="worst",
        about="recall of the worst class in %",
        format=_number("worst_class"),
        absent_if_empty=True,
        page_only=True,
        better="high",
    ),
    Column(
        key="harmonic_mean",
        heading="harmonic",
        about="harmonic mean of the recalls in %",
        format=_number("harmonic_mean"),
        absent_if_empty=True,
        page_only=True,
        better="high",
    ),
    Column(
        key="balanced_error",
        heading="bal. error",
        about="100 - balanced accuracy, in %",
        format=_number("balanced_error"),
        dropped=1,
        better="low",
    ),
    Column(
        key="macro_f1",
        heading="macro F1",
        about="mean F1 over classes in %",
        format=_number("macro_f1"),
        dropped=3,
        better="high",
    ),
    Column(
        key="ece",
        heading="ECE",
        about="expected calibration error in %, 15 bins, every class with the same weight",
        format=_number("ece"),
        dropped=6,
        better="low",
    ),
    Column(
        key="nll",
        heading="NLL",
        about="negative log-likelihood in nats, mean over classes",
        format=_number("nll", ".2f"),
        dropped=2,
        better="low",
    ),
    Column(
        key="brier",
        heading="Brier",
        about="Brier score in %, mean over classes",
        format=_number("brier"),
        page_only=True,
        better="low",
    ),
    Column(
        key="train_seconds",
        heading="train",
        about="training time of one seed (‡ beside other runs, so longer than alone)",
        format=_train,
        dropped=7,
        footnote=True,
    ),
    Column(
        key="relative_cost",
        heading="cost",
        about="declared forward-backward passes per image, relative to plain training",
        format=_number("relative_cost", ".2g"),
        dropped=4,
        footnote=True,
    ),
    Column(key="seeds", heading="seeds", about="finished seeds", format=_seeds, dropped=8),
    Column(
        key="relative_accuracy",
        heading="rel. acc.",
        about=f"balanced accuracy in % of the better of {BASELINE} and the method, both trained on the balanced set "
        "(imbalance 1)",
        format=_number("relative_accuracy"),
        dropped=5,
        absent_if_empty=True,
        footnote=True,
        better="high",
    ),
    Column(
        key="paper",
        heading="paper",
        about="published accuracy under the same settings, the choice of the epoch included",
        format=_number("paper"),
        absent_if_empty=True,
        footnote=True,
    ),
    Column(
        key="published",
        heading="published",
        about="accuracy in % that was published for the settings of the row",
        format=_number("published"),
        absent_if_empty=True,
        footnote=True,
    ),
    Column(
        key="verdict",
        heading="verdict",
        about="our accuracy at the epoch that the source reports, less the published one, in points, ± 95 % half-width "
        f"over seeds; within: at most {MARGIN} points plus this half-width",
        format=lambda row: str(row["verdict"]),
        absent_if_empty=True,
        footnote=True,
        words=True,
    ),
)
