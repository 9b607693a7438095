"""The leaderboard: records as a pandas frame with one row a cell, then one row a method. Needs no torch."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ltbench.plan.cell import BASELINE, entry
from ltbench.results.comparisons import against_best, against_control, fit, intervals
from ltbench.results.record import Protocol, Record
from ltbench.results.statistics import LEVEL, harmonic_mean, image_error, seed_interval, worst_class
from ltbench.results.store import Store, no_garbage

PROTOCOLS: tuple[Protocol, ...] = ("last", "val", "best-on-test")
COSTS = ("train_seconds", "images_per_second", "peak_memory_bytes", "relative_cost", "runs_together")
PAPER = ("paper", "paper_source")
TUNED = ("trials", "tuned_values")
METRICS = (
    "balanced_accuracy",
    "many",
    "medium",
    "few",
    "balanced_error",
    "macro_f1",
    "ece",
    "nll",
    "brier",
    "accuracy",
)
OF_HITS = {"worst_class": worst_class, "harmonic_mean": harmonic_mean}
"""Metrics in percent that need the hits of each class, which records hold for the last epoch only."""
COMPARED = (
    "difference_to_ce",
    "difference_to_ce_interval",
    "p_to_ce",
    "difference_to_best",
    "p_to_best",
    "compared_over",
)
BALANCED = ("1", "step:1")
"""Imbalances of training sets with equal classes."""
TABLE = ["dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "recipe", "shots"]
"""Methods are compared only where all of these agree."""


def load_results(
    results: Store | Path | str = "results", protocol: Protocol = "last", ids: Collection[str] | None = None
) -> pd.DataFrame:
    """Read every cell in a results folder, one row each, finished or failed.

    Of cells that differ only in the source code of a method (or in the pixels of a data set), the newest source counts.

    Args:
        results: the folder, or its store, which reads each record once.
        protocol: which epoch is reported: ``last``; ``val``, chosen on the validation split; ``best-on-test``, which is
            optimistic and for comparison with the literature only.
        ids: of the cells to read; None: all.

    Returns:
        Columns ``id``, the coordinates, ``status``, ``reason``, the metrics in percent (``nll`` in nats) and the costs.
        ``worst_class`` and ``harmonic_mean`` are filled under protocol ``last`` only.
    """
    with no_garbage():
        store = results if isinstance(results, Store) else Store(results)
        latest = store.latest()
        records = _current(record for cell, record in latest.items() if ids is None or cell in ids)
        frame = pd.DataFrame([_row(record, protocol) for record in records])
        _add_metrics_of_hits(frame, records, protocol)
    return frame


def _slot(record: Record) -> tuple[str, ...]:
    """The coordinates of a table's row, whatever the source code was."""
    place = (record.dataset, record.fingerprint, record.imbalance, record.subset_seed, record.holdout)
    values = record.trials or dict(record.hyperparameters)
    return tuple(map(str, (*place, record.method, record.recipe, values)))


def _current(records: Iterable[Record]) -> list[Record]:
    """Without the cells that an edited source has made stale."""
    by_age = sorted(records, key=lambda record: record.created)
    slots = [_slot(record) for record in by_age]
    newest = {slot: record.row for slot, record in zip(slots, by_age, strict=True)}
    return [record for slot, record in zip(slots, by_age, strict=True) if record.row == newest[slot]]


def _row(record: Record, protocol: Protocol) -> dict[str, Any]:
    names = ("id", "status", "reason", "dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "recipe")
    row = {name: getattr(record, name) for name in names} | {
        "method": record.entry,
        "seed": record.seed,
        "trials": record.trials,
        "tuned_values": entry("", record.hyperparameters)[1:-1] if record.trials else "",
        "shots": str(record.shots),
        "epoch": None,
    }
    row |= dict.fromkeys([*METRICS, *OF_HITS, *COSTS, "image_error"], np.nan) | dict.fromkeys(PAPER)
    result = record.result
    measured = result.protocols.get(protocol) if result else None
    if result and measured:
        row["epoch"] = measured.epoch
        row |= {metric: _number(getattr(measured, metric)) for metric in METRICS}
        row |= {f"{group}_classes": n for group, n in result.groups.items()}
        row |= {name: _number(getattr(result.cost, name)) for name in COSTS}
        if result.paper:
            row |= {
                "paper": result.paper.accuracy,
                "paper_source": f"{result.paper.source}, grade {result.paper.grade}",
            }
    elif result:
        row |= {"status": "failed", "reason": f"no validation split, so nothing under protocol '{protocol}'"}
    row["created"] = record.created
    return row


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _add_metrics_of_hits(frame: pd.DataFrame, records: list[Record], protocol: Protocol) -> None:
    """Set the columns that come from the hits of each class, for all cells with equally many classes at once."""
    results = [record.result for record in records]
    classes = np.array([len(result.hits) if result else 0 for result in results])
    for n in set(classes) - {0}:
        places = np.flatnonzero(classes == n)
        of_size = [result for result in results if result and len(result.hits) == n]
        hits, totals = np.array([r.hits for r in of_size]), np.array([r.test_counts for r in of_size])
        frame.loc[places, "image_error"] = image_error(hits, totals)
        if protocol == "last":
            for name, metric in OF_HITS.items():
                frame.loc[places, name] = metric(hits, totals)


def leaderboard(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per method in each table (data set x recipe x imbalance, the strongest first), the best method first.

    Args:
        cells: from ``load_results``.

    Returns:
        The columns of ``TABLE``, ``method``, ``seeds`` (finished), ``failed`` and ``reason``; the mean of each metric
        over seeds, ``interval`` (half width of the 95 % interval of the balanced accuracy) and ``interval_from``
        (``seeds``, or ``images`` where there is one seed); the means of the costs; ``paper`` and ``paper_source``, the
        published accuracy for the same recipe, if there is one; ``trials`` and ``tuned_values`` of a tuned row;
        ``rank`` within the table, by mean; ``relative_accuracy``; ``best`` and ``tied`` (not distinguishable from the
        best; the best itself included).

        The comparisons, in points of balanced accuracy, of the methods with at least two seeds (``compared_over`` is
        ``seeds``; the others are not compared, and ``one seed``): ``difference_to_best`` and ``p_to_best``, adjusted
        for all pairs; ``difference_to_ce``, ``difference_to_ce_interval`` and ``p_to_ce``, adjusted for a false
        discovery rate among all methods that are compared with ``ce``, a tuned one with ``ce`` tuned by as many trials.
        A difference is estimated from all seeds of all methods, so where methods have different seeds it is not exactly
        the difference of their means.
    """
    keys = [*TABLE, "method"]
    derived = [*COMPARED, "interval", "best", "tied"]
    measured = [*METRICS, *OF_HITS, *COSTS]
    if cells.empty:
        of_board = ["seeds", "failed", "reason", *measured, *PAPER, *TUNED]
        of_board += ["rank", "relative_accuracy"]
        return pd.DataFrame(columns=[*keys, *of_board, *derived])
    done = cells[cells.status == "done"]
    failed = cells[cells.status != "done"].groupby(keys).reason
    of_method = done.groupby(keys)
    board = of_method[measured].mean()
    board["seeds"] = of_method.size()
    board["interval_from"] = np.where(board.seeds == 1, "images", "seeds")
    board = board.join(of_method[[*PAPER, *TUNED]].first())
    reasons = failed.agg(lambda given: "; ".join(dict.fromkeys(given)))
    board = board.join(pd.DataFrame({"failed": failed.size(), "reason": reasons}), how="outer").reset_index()
    numbers = ["seeds", "failed", "trials"]
    board[numbers] = board[numbers].fillna(0).astype(int)

    board["rank"] = board.groupby(TABLE).balanced_accuracy.rank(method="min", ascending=False).astype("Int64")
    board["relative_accuracy"] = _relative_accuracy(board)
    compared = [_compared(part) for _, part in done.groupby(TABLE)]
    board = board.merge(pd.concat(compared or [pd.DataFrame(columns=[*keys, *derived])]), "left", keys)
    board[["best", "tied"]] = board[["best", "tied"]].eq(True)
    board["strength"] = board.imbalance.str.extract(r"([\d.]+)$", expand=False).astype(float).fillna(0.0)
    rest = [name for name in TABLE if name not in ("dataset", "recipe")]
    keys = ["dataset", "recipe", "strength", *rest, "balanced_accuracy"]
    in_order = board.sort_values(keys, ascending=[k not in ("strength", "balanced_accuracy") for k in keys])
    return in_order.drop(columns="strength").reset_index(drop=True)


def _relative_accuracy(board: pd.DataFrame) -> pd.Series:
    """In percent, A / max(balanced accuracy of ce, of the method), both trained on the balanced set (imbalance 1).

    Zhang et al., Deep Long-Tailed Learning: A Survey, TPAMI 2023. NaN where one of the two is missing. The survey's
    balanced set has as many images as the long-tailed one; this one has as many as equal classes allow.
    """
    place = [name for name in TABLE if name != "imbalance"]
    equal = board[board.imbalance.isin(BALANCED)].drop_duplicates([*place, "method"])
    of_ce = equal.loc[equal.method == BASELINE, [*place, "balanced_accuracy"]]
    bounds = board[[*place, "method", "imbalance", "balanced_accuracy"]].merge(
        of_ce, "left", place, suffixes=("", "_ce")
    )
    own = equal[[*place, "method", "balanced_accuracy"]]
    bounds = bounds.merge(own, "left", [*place, "method"], suffixes=("", "_own"))
    bound = bounds[["balanced_accuracy_ce", "balanced_accuracy_own"]].max(axis=1, skipna=False)
    return (100 * bounds.balanced_accuracy / bound).where(~bounds.imbalance.isin(BALANCED))


def _compared(done: pd.DataFrame) -> pd.DataFrame:
    """One table's intervals, and its methods against its best and against ce; ``COMPARED``, ``best`` and ``tied``."""
    of_method = done.groupby("method")
    by_seed = done.pivot(index="method", columns="seed", values="balanced_accuracy")
    seeds, trials = by_seed.notna().sum(axis=1), of_method.trials.first()
    found = pd.DataFrame(np.nan, by_seed.index, [*COMPARED[:5], "interval"]).assign(
        compared_over=np.where(seeds > 1, "seeds", "one seed"), best=False, tied=False
    )
    found["interval"] = np.where(
        seeds > 1, seed_interval(by_seed.std(axis=1), seeds), 1.96 * of_method.image_error.first()
    )
    several = by_seed.index[seeds > 1]
    if len(several) > 1:
        model = fit(by_seed.loc[several].to_numpy())
        best, differences, p = against_best(model)
        found.loc[several, "interval"] = intervals(model)
        found.loc[several, "difference_to_best"], found.loc[several, "p_to_best"] = differences, p
        found.loc[several, "tied"] = p >= 1 - LEVEL
        found.loc[several[best], "best"] = True
        for n in trials.unique():  # a tuned method is compared with ce tuned as long
            control, family = entry(BASELINE, {}, n), several[trials[several] == n]
            if control in family and len(family) > 1:
                others = family.drop(control)
                to_ce = against_control(model, list(several).index(control), several.isin(others))
                found.loc[others, list(COMPARED[:3])] = np.stack(to_ce, axis=1)
    return found.reset_index().assign(**done[TABLE].iloc[0])
