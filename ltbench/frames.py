"""The leaderboard: records to pandas frames, one row a cell, then one row a method. Needs no torch."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ltbench.cell import entry
from ltbench.statistics import image_error, seed_interval, tied_by_images, tied_with_best
from ltbench.store import Record, Store

Protocol = Literal["last", "val", "best-on-test"]
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
TABLE = ["dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "recipe", "shots"]
"""Methods are compared only where all of these agree."""


def load_results(
    results: Path | str = "results", protocol: Protocol = "last", cells: Collection[str] | None = None
) -> pd.DataFrame:
    """Every cell in a results folder, one row each, finished or failed.

    Of cells that differ in nothing but the source of a method (or of a data set's images), only those of the newest
    source count.

    Args:
        results: the folder.
        protocol: which epoch is reported: ``last``; ``val``, chosen on the validation split; ``best-on-test``, which is
            optimistic and for comparison with the literature only.
        cells: ids of the cells that are wanted; None: all.

    Returns:
        Columns ``id``, the coordinates, ``status``, ``reason``, the metrics in percent (``nll`` in nats), the costs.
    """
    latest = Store(results).latest()
    records = [record for cell, record in latest.items() if cells is None or cell in cells]
    return pd.DataFrame([_row(record, protocol) for record in _current(records)])


def _slot(record: Record) -> tuple[str, ...]:
    """What people would call the same row, whatever the sources were."""
    keys = (
        "dataset",
        "fingerprint",
        "imbalance",
        "subset_seed",
        "holdout",
        "method",
        "recipe",
    )
    trials = record.get("trials", 0)
    return (*(str(record[key]) for key in keys), str(trials or record["hyperparameters"]))


def _current(records: Iterable[Record]) -> list[Record]:
    """Without the cells that an edited source has made stale."""
    by_age = sorted(records, key=lambda record: str(record["created"]))
    newest = {_slot(record): record["row"] for record in by_age}
    return [record for record in by_age if record["row"] == newest[_slot(record)]]


def _row(record: Record, protocol: Protocol) -> dict[str, Any]:
    names = (
        "id",
        "status",
        "reason",
        "dataset",
        "fingerprint",
        "imbalance",
        "subset_seed",
        "holdout",
        "recipe",
    )
    row = {name: record[name] for name in names} | {
        "method": entry(record["method"], record["hyperparameters"], record.get("trials", 0)),
        "seed": record["seed"],
        "trials": record.get("trials", 0),
        "tuned_values": entry("", record["hyperparameters"])[1:-1] if record.get("trials", 0) else "",
    }
    measured = record.get("protocols", {}).get(protocol)
    row["shots"] = str(record["shots"])
    row["epoch"] = measured["epoch"] if measured else None
    row |= dict.fromkeys([*METRICS, *COSTS, "image_error"], np.nan) | dict.fromkeys(PAPER)
    if measured:
        row |= {metric: np.nan if measured[metric] is None else measured[metric] for metric in METRICS}
        row["image_error"] = image_error(record["hits"], record["test_counts"])
        row |= {f"{group}_classes": n for group, n in record["groups"].items()}
        known = {"runs_together": 1} | {
            name: np.nan if value is None else value for name, value in record["cost"].items()
        }
        row |= {name: known[name] for name in COSTS}
        row |= dict(zip(PAPER, record["published"] or (None, None), strict=True))
    elif record["status"] == "done":
        row |= {"status": "failed", "reason": f"no validation split, so nothing under protocol '{protocol}'"}
    row["created"] = record["created"]
    return row


def leaderboard(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per method within each table (data set x recipe x imbalance, the strongest first), the best first.

    Args:
        cells: from ``load_results``.

    Returns:
        The columns of ``TABLE``, ``method``, ``seeds`` (finished), ``failed`` and ``reason``; the mean of each metric
        over seeds, ``interval`` (half width of the 95 % interval of the balanced accuracy) and ``interval_from``
        (``seeds``, or ``images`` where there is one seed); the means of the costs; ``paper`` and ``paper_source``, the
        published accuracy for the same recipe, if there is one; ``trials`` and ``tuned_values`` of a tuned row;
        ``best`` and ``tied`` (not distinguishable from the best; the best itself included).
    """
    keys = [*TABLE, "method"]
    measured = [*METRICS, *COSTS]
    if cells.empty:
        return pd.DataFrame(
            columns=[*keys, "seeds", "failed", "reason", *measured, *PAPER, *TUNED, "interval", "best", "tied"]
        )
    done = cells[cells.status == "done"]
    failed = cells[cells.status != "done"].groupby(keys).reason
    of_method = done.groupby(keys)
    board = of_method[measured].mean()
    board["seeds"] = of_method.size()
    board["interval"] = seed_interval(of_method.balanced_accuracy.std(), board.seeds)
    board["interval_from"] = np.where(board.seeds == 1, "images", "seeds")
    board.loc[board.seeds == 1, "interval"] = 1.96 * of_method.image_error.first()
    board = board.join(of_method[[*PAPER, *TUNED]].first())
    reasons = failed.agg(lambda given: "; ".join(dict.fromkeys(given)))
    board = board.join(pd.DataFrame({"failed": failed.size(), "reason": reasons}), how="outer").reset_index()
    whole = ["seeds", "failed", "trials"]
    board[whole] = board[whole].fillna(0).astype(int)

    standing = [_standing(part) for _, part in done.groupby(TABLE)]
    places = pd.MultiIndex.from_frame(board[keys])
    board["best"] = places.isin([best for best, _ in standing])
    board["tied"] = places.isin([place for _, tied in standing for place in tied])
    board["strength"] = board.imbalance.str.extract(r"([\d.]+)$", expand=False).astype(float).fillna(0.0)
    rest = [name for name in TABLE if name not in ("dataset", "recipe")]
    keys = ["dataset", "recipe", "strength", *rest, "balanced_accuracy"]
    in_order = board.sort_values(keys, ascending=[k not in ("strength", "balanced_accuracy") for k in keys])
    return in_order.drop(columns="strength").reset_index(drop=True)


Place = tuple[Any, ...]


def _standing(done: pd.DataFrame) -> tuple[Place, list[Place]]:
    """Of one table, the best method and all not distinguishable from it, on the seeds that all methods have."""
    table = tuple(done[TABLE].iloc[0])
    by_seed = done.pivot(index="method", columns="seed", values="balanced_accuracy").dropna(axis=1)
    if by_seed.shape[1] >= 2:
        means, tied = by_seed.mean(axis=1), tied_with_best(by_seed.to_numpy())
    else:
        by_method = done.groupby("method")[["balanced_accuracy", "image_error"]].mean()
        means = by_method.balanced_accuracy
        tied = tied_by_images(means.to_numpy(), by_method.image_error.to_numpy())
    return (*table, means.idxmax()), [(*table, method) for method in means.index[tied]]
