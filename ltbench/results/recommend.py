"""The method to use: chosen on validation images, reported on test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ltbench.results.leaderboard import TABLE, leaderboard
from ltbench.results.record import Record


@dataclass(frozen=True)
class Choice:
    """What a table recommends.

    Attributes:
        table: the coordinates of the table (`TABLE`).
        row: the recommended method's row of the leaderboard, measured on test images; None: there is none.
        reason: why there is none; empty where there is one.
        equals: methods that validation images cannot tell from the best, and that cost as much or more.
        cell: id of the recommended method's cell that is best on validation images.
    """

    table: Mapping[str, object]
    row: pd.Series | None = None
    reason: str = ""
    equals: tuple[str, ...] = ()
    cell: str = ""


def choices(cells: pd.DataFrame, records: Mapping[str, Record]) -> list[Choice]:
    """For each table, the cheapest of the methods that validation images cannot tell from the best.

    Args:
        cells: from ``load_results``, measured on test images.
        records: of these cells, by id.
    """
    done = cells[cells.status == "done"]
    return [
        _choice(dict(zip(TABLE, place, strict=True)), part, records) for place, part in done.groupby(TABLE, sort=False)
    ]


def _choice(table: Mapping[str, object], cells: pd.DataFrame, records: Mapping[str, Record]) -> Choice:
    scores = pd.Series({cell: _on_validation(records[cell]) for cell in cells.id}, dtype=float)
    if cells.method.nunique() < 2:
        return Choice(table, reason="only one method was trained")
    if scores.isna().any():
        return Choice(table, reason="there are no validation images; set some aside, for example with --set holdout=10")
    board = leaderboard(cells.assign(balanced_accuracy=scores[cells.id].to_numpy()))
    equal = board[board.tied].sort_values(["relative_cost", "balanced_accuracy"], ascending=[True, False])
    if equal.empty:
        return Choice(table, reason="one seed cannot tell methods apart; give more with --seeds 3")
    method = equal.method.iloc[0]
    own = cells.id[cells.method == method]
    measured = leaderboard(cells)
    return Choice(
        table,
        row=measured[measured.method == method].iloc[0],
        equals=tuple(equal.method.iloc[1:]),
        cell=str(scores[own].idxmax()),
    )


def _on_validation(record: Record) -> float:
    """Balanced accuracy on validation images after the last epoch; NaN where the run had none."""
    result = record.finished
    measured = result.evaluations[-1].val
    return float("nan") if measured is None or result.measured_on != "test" else measured.balanced_accuracy
