"""The leaderboard: records to pandas frames, one row a cell, then one row a method. Needs no torch."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ltbench.statistics import image_error, seed_interval, tied_by_images, tied_with_best
from ltbench.store import Record, Store

Protocol = Literal["last", "val", "best-on-test"]
PROTOCOLS: tuple[Protocol, ...] = ("last", "val", "best-on-test")
COSTS = ("train_seconds", "images_per_second", "peak_memory_bytes", "relative_cost")
PAPER = ("paper", "paper_source")
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
        "hyperparameters",
        "recipe",
    )
    return tuple(str(record[key]) for key in keys)


def _current(records: Iterable[Record]) -> list[Record]:
    """Without the cells that an edited source has made stale."""
    by_age = sorted(records, key=lambda record: str(record["created"]))
    newest = {_slot(record): record["row"] for record in by_age}
    return [record for record in by_age if record["row"] == newest[_slot(record)]]


def method_label(record: Record) -> str:
    """A method with the hyper-parameters that are not its defaults."""
    changed = record["hyperparameters"]
    return str(record["method"]) + (f"({', '.join(f'{k}={v}' for k, v in changed.items())})" if changed else "")


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
    row = {name: record[name] for name in names} | {"method": method_label(record), "seed": record["seed"]}
    measured = record.get("protocols", {}).get(protocol)
    row["shots"] = str(record.get("shots"))
    row["epoch"] = measured["epoch"] if measured else None
    row |= {metric: measured[metric] if measured else np.nan for metric in METRICS}
    if measured:
        row["image_error"] = image_error(record["hits"], record["test_counts"])
        row |= {f"{group}_classes": n for group, n in record["groups"].items()}
        row |= {name: record["cost"][name] for name in COSTS}
        row |= dict(zip(PAPER, record["published"] or (None, None), strict=True))
    elif record["status"] == "done":
        row |= {"status": "failed", "reason": f"no validation split, so nothing under protocol '{protocol}'"}
    row["created"] = record["created"]
    return row


def leaderboard(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per method within each table (data set x imbalance x recipe), the best first.

    Args:
        cells: from ``load_results``.

    Returns:
        The columns of ``TABLE``, ``method``, ``seeds`` (finished), ``failed`` and ``reason``; the mean of each metric
        over seeds, ``interval`` (half width of the 95 % interval of the balanced accuracy) and ``interval_from``
        (``seeds``, or ``images`` where there is one seed); the means of the costs; ``paper`` and ``paper_source``, the
        published accuracy for the same recipe, if there is one; ``best`` and ``tied`` (not distinguishable from the
        best; the best itself included).
    """
    if cells.empty:
        return pd.DataFrame(
            columns=[*TABLE, "method", "seeds", "failed", "reason", *METRICS, "interval", "best", "tied"]
        )
    shots = cells[cells.status == "done"].groupby(TABLE[:-1], dropna=False).shots.first()
    cells = cells.copy()
    lost = cells.status != "done"  # a failed cell has no groups of its own: it stands in the table of the others
    places = pd.MultiIndex.from_frame(cells.loc[lost, TABLE[:-1]])
    cells.loc[lost, "shots"] = shots.reindex(places).fillna("auto").to_numpy()
    tables = [_table(keys, part) for keys, part in cells.groupby(TABLE, sort=False, dropna=False)]
    return pd.concat(tables, ignore_index=True)


def _table(keys: Sequence[Any], cells: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for method, part in cells.groupby("method"):
        done = part[part.status == "done"]
        half = seed_interval(done.balanced_accuracy)
        alone = len(done) == 1
        failed = part[part.status != "done"]
        rows.append(
            dict(zip(TABLE, keys, strict=True))
            | {"method": method, "seeds": len(done), "failed": len(failed)}
            | {"reason": "; ".join(dict.fromkeys(failed.reason)) or None}
            | {metric: done[metric].astype(float).mean() if len(done) else np.nan for metric in METRICS}
            | {"interval": 1.96 * done.image_error.iloc[0] if alone else half}
            | {"interval_from": "images" if alone else "seeds"}
            | {cost: done[cost].mean() if len(done) else np.nan for cost in COSTS}
            | {name: done[name].iloc[0] if len(done) else None for name in PAPER}
        )
    table = pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, na_position="last", ignore_index=True)
    ranked = _ranked(cells[cells.status == "done"])
    table["best"] = table.method == (table.method[0] if ranked else None)
    table["tied"] = table.method.isin(ranked)
    return table


def _ranked(done: pd.DataFrame) -> list[str]:
    """The best method and those not distinguishable from it, on the seeds that all methods have."""
    if done.empty:
        return []
    by_seed = done.pivot_table(index="method", columns="seed", values="balanced_accuracy").dropna(axis=1)
    if by_seed.shape[1] >= 2:
        tied = tied_with_best(by_seed.to_numpy())
    else:
        by_seed = done.groupby("method")[["balanced_accuracy", "image_error"]].mean()
        tied = tied_by_images(by_seed.balanced_accuracy.to_numpy(), by_seed.image_error.to_numpy())
    return list(by_seed.index[tied])
