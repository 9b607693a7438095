"""Features x classifiers: the rows of a leaderboard as a grid. Needs no torch.

Kang et al. (ICLR 2020) compare classifiers on the features of every method. Any table is such a grid in part; it is
shown as one where at least one classifier was trained on the features of two methods.
"""

import numpy as np
import pandas as pd

from ltbench.plan.cell import BASELINE
from ltbench.results.comparisons import against_control, fit
from ltbench.results.leaderboard import TABLE
from ltbench.results.record import JOINT

PAIRED = ("difference", "difference_interval", "p")


def decoupling(cells: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """The cells of all grids, one row each.

    A grid has the classifiers that were trained on the features of at least two methods, and the methods' own (joint)
    classifiers; and the features of at least one of the former.

    Args:
        cells: from ``load_results``.
        board: the leaderboard of the same cells.

    Returns:
        The columns of ``TABLE``; ``features`` and ``classifier``; ``method``, ``seeds``, ``balanced_accuracy``,
        ``interval``, ``interval_from``, ``few`` of the leaderboard; and where both have several seeds, the difference
        to the same classifier on the features of ``ce``: ``difference`` in points, ``difference_interval``, and ``p``,
        adjusted for a false discovery rate among the features of that classifier.
    """
    parts = []
    shown = ["seeds", "balanced_accuracy", "interval", "interval_from", "few"]
    for _, table in cells[cells.status == "done"].groupby(TABLE, sort=False, dropna=False):
        kinds = table.drop_duplicates("method")[["method", "features", "classifier"]]
        several = kinds[kinds.classifier != JOINT].groupby("classifier").filter(lambda part: len(part) > 1)
        kinds = kinds[kinds.features.isin(several.features) & kinds.classifier.isin([JOINT, *several.classifier])]
        if len(kinds):
            grid = kinds.merge(table[[*TABLE, "method"]].drop_duplicates(), "left", "method")
            grid = grid.merge(board[[*TABLE, "method", *shown]], "left", [*TABLE, "method"])
            parts.append(grid.merge(_against_baseline(table, kinds), "left", "method"))
    columns = [*TABLE, "method", "features", "classifier", *shown, *PAIRED]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _against_baseline(table: pd.DataFrame, kinds: pd.DataFrame) -> pd.DataFrame:
    """Each classifier on the features of other methods, less the same on those of ``ce``.

    Args:
        table: the finished cells of one table, which are the runs of the model as in the leaderboard.
        kinds: ``method``, ``features`` and ``classifier`` of the grid.
    """
    by_seed = table.pivot(index="method", columns="seed", values="balanced_accuracy")
    by_seed = by_seed[by_seed.notna().sum(axis=1) > 1]
    found = pd.DataFrame(np.nan, pd.Index(kinds.method), list(PAIRED))
    if len(by_seed) > 1:
        model, methods = fit(by_seed.to_numpy()), list(by_seed.index)
        for _, column in kinds[kinds.method.isin(methods)].groupby("classifier"):
            control = column.method[column.features == BASELINE]
            others = column.method[column.features != BASELINE]
            if len(control) and len(others):
                wanted = by_seed.index.isin(others)
                compared = against_control(model, methods.index(control.iloc[0]), wanted)
                found.loc[by_seed.index[wanted], list(PAIRED)] = np.stack(compared, axis=1)
    return found.reset_index()
