"""The leaderboard: records as a pandas frame with one row a cell, then one row a method. Needs no torch."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ltbench.errors import InputError
from ltbench.method.published import Published
from ltbench.metrics import Shots, group_recalls, shot_groups
from ltbench.plan.cell import AS_PUBLISHED, BASELINE, entry
from ltbench.results.comparisons import against_best, against_control, fit, intervals
from ltbench.results.papers import comparable, differences, published, reproduced, verdict
from ltbench.results.record import Protocol, Record
from ltbench.results.statistics import LEVEL, harmonic_mean, image_error, seed_interval, worst_class
from ltbench.results.status import Sources, is_stale
from ltbench.results.store import Store, no_garbage

COSTS = ("train_seconds", "images_per_second", "peak_memory_bytes", "relative_cost", "runs_together")
PAPER = ("paper", "paper_source")
REPRODUCED = ("published", "published_source", "ours_as_published", "not_as_published", "trained_under")
"""Of a cell that was trained as published: the published accuracy, our accuracy at the epoch that its source reports,
what differs all the same, and the cell's recipe."""
MISSING = {"val": "no validation split", "best-on-test": "no test curve (--set recipe.test_curve=true)"}
"""Why a finished cell has nothing to report under a protocol."""
AS_BOARD = ("published", "published_source", "trained_under")
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
"""Metrics in percent that are computed from the hits of each class."""
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
TABLE = ["dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "recipe"]
"""Methods are compared only where all of these agree."""


def load_results(
    results: Store | Path | str = "results",
    protocol: Protocol = "last",
    ids: Collection[str] | None = None,
    *,
    shots: Shots = "auto",
    methods_dirs: Sequence[Path] = (),
) -> pd.DataFrame:
    """Read every cell in a results folder, one row each, finished, failed or stale.

    A cell is stale if code that its result depends on was edited since; it is in no table. It counts again once the
    edit is undone.

    Args:
        results: the folder, or its store, which reads each record once.
        protocol: which epoch is reported: ``last``; ``val``, chosen on the validation split; ``best-on-test``, which is
            optimistic and for comparison with the literature only.
        ids: of the cells to read; None: all.
        shots: the groups of classes; see `shot_groups`.
        methods_dirs: folders with method files, besides ``./methods``, to compare with the code of the results.

    Returns:
        Columns ``id``, the coordinates, ``features`` and ``classifier`` (see `Record`), ``status`` (``done``,
        ``failed``, ``stale``), ``reason``, ``changed`` (which code is not as it was, by name), ``rounding`` (the
        environments it was trained in), the metrics in percent (``nll`` in nats), and the costs.

    Raises:
        InputError: for groups of classes that cannot be.
    """
    _check_shots(shots)
    with no_garbage():
        store = results if isinstance(results, Store) else Store(results)
        sources, figures = Sources(methods_dirs), published(methods_dirs)
        records = [record for cell, record in store.latest().items() if ids is None or cell in ids]
        changes = {record.id: sources.changes(record) for record in records}
        records = _newest(records, changes)
        rows = (_row(record, protocol, shots, changes[record.id], figures.get(record.method, ())) for record in records)
        frame = pd.DataFrame(rows)
        _add_metrics_of_hits(frame, records, protocol)
    return frame


def _check_shots(shots: Any) -> None:
    if shots in ("auto", "terciles"):
        return
    two = isinstance(shots, list | tuple) and len(shots) == 2 and all(isinstance(n, int) for n in shots)
    if not (two and 0 < shots[0] <= shots[1]):
        what = "give 'auto', 'terciles', or two numbers of training images, the smaller first: (20, 100)"
        raise InputError(f"shots={shots}: {what}")


def _slot(record: Record) -> tuple[str, ...]:
    """The coordinates of a table's row, whatever the source code was."""
    place = (record.dataset, record.fingerprint, record.imbalance, record.subset_seed, record.holdout)
    return tuple(map(str, (*place, record.entry, record.recipe)))


def _newest(records: Iterable[Record], changes: Mapping[str, Mapping[str, str]]) -> list[Record]:
    """Of the cells that would be in the same row, those of the code at hand, or else the newest.

    Args:
        changes: of the code of each record, by its id.
    """
    in_order = sorted(records, key=lambda record: (not is_stale(changes[record.id]), record.created))
    slots = [_slot(record) for record in in_order]
    newest = {slot: record.row for slot, record in zip(slots, in_order, strict=True)}
    return [record for slot, record in zip(slots, in_order, strict=True) if record.row == newest[slot]]


def _row(
    record: Record, protocol: Protocol, shots: Shots, changed: Mapping[str, str], figures: Sequence[Published]
) -> dict[str, Any]:
    names = ("id", "status", "reason", "dataset", "fingerprint", "imbalance", "subset_seed", "holdout", "recipe")
    row = {name: getattr(record, name) for name in names} | {
        "method": record.entry,
        "control": record.control,
        "features": record.features,
        "classifier": record.classifier,
        "seed": record.seed,
        "trials": record.trials,
        "tuned_values": entry("", record.hyperparameters)[1:-1] if record.trials else "",
        "shots": str(shots),
        "changed": dict(changed),
        "rounding": "",
        "epoch": None,
    }
    row |= dict.fromkeys([*METRICS, *OF_HITS, *COSTS, "image_error"], np.nan) | dict.fromkeys([*PAPER, *REPRODUCED])
    result = record.result
    measured = result.protocols.get(protocol) if result else None
    if result and measured:
        row["epoch"] = measured.epoch
        row["rounding"] = "; then ".join(result.roundings)
        row["recipe"] += ", compiled" if result.compiled else ""
        row |= {metric: _number(getattr(measured, metric)) for metric in METRICS}
        groups = shot_groups(result.class_counts, shots)
        if shots != "auto":  # other groups than those of the record
            found = group_recalls(measured.hits, result.test_counts, groups)
            row |= {name: _number(value) for name, value in found.items()}
        row |= {f"{name}_classes": len(members) for name, members in groups.items()}
        row |= {name: _number(getattr(result.cost, name)) for name in COSTS}
        if paper := reproduced(record, figures):
            ours = result.protocols.get(paper.epoch or "last")
            source, different = f"{paper.source}, grade {paper.grade}", ", ".join(differences(record, paper))
            values = (paper.accuracy, source, ours and ours.balanced_accuracy, different, record.trained_under)
            row |= dict(zip(REPRODUCED, values, strict=True))
        elif paper := comparable(record, protocol, figures):
            row |= {"paper": paper.accuracy, "paper_source": f"{paper.source}, grade {paper.grade}"}
    elif result:
        row |= {"status": "failed", "reason": f"{MISSING[protocol]}, so nothing under protocol '{protocol}'"}
    if is_stale(changed):
        row["status"] = "stale"
    row["created"] = record.created
    return row


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _add_metrics_of_hits(frame: pd.DataFrame, records: list[Record], protocol: Protocol) -> None:
    """Set the columns that come from the hits of each class, for all cells with equally many classes at once."""
    by_classes: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        if record.result and protocol in record.result.protocols:
            by_classes.setdefault(len(record.result.test_counts), []).append(place)
    for places in by_classes.values():
        results = [records[place].finished for place in places]
        hits = np.array([result.protocols[protocol].hits for result in results])
        totals = np.array([result.test_counts for result in results])
        frame.loc[places, "image_error"] = image_error(hits, totals)
        for name, metric in OF_HITS.items():
            frame.loc[places, name] = metric(hits, totals)
        recall = np.divide(hits, totals, out=np.full(hits.shape, np.nan), where=totals > 0)
        other = np.abs(100 * np.nanmean(recall, axis=1) - frame.loc[places, "balanced_accuracy"].to_numpy()) > 1e-6
        if other.any():
            wrong = records[places[int(other.argmax())]].id
            raise InputError(
                f"the balanced accuracy of record {wrong} is not the mean of its recalls; run ltbench verify {wrong}"
            )


def leaderboard(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per method in each table (data set x recipe x imbalance, the strongest first), the best method first.

    Args:
        cells: from ``load_results``.

    Returns:
        The columns of ``TABLE``, ``method``, ``seeds`` (finished), ``failed`` and ``reason``; the mean of each metric
        over seeds, ``interval`` (half width of the 95 % interval of the balanced accuracy) and ``interval_from``
        (``seeds``, or ``images`` where there is one seed); the means of the costs; ``paper`` and ``paper_source``, the
        published accuracy under the same settings, if there is one (see `ltbench.results.papers.differences`);
        ``trials`` and ``tuned_values`` of a tuned row; ``rounding``, the environments of its seeds, separated by ``|``;
        ``shots``, the groups of classes;
        ``rank`` within the table, by mean; ``relative_accuracy``; ``best`` and ``tied`` (not distinguishable from the
        best; the best itself included).

        The comparisons, in points of balanced accuracy, of the methods with at least two seeds (``compared_over`` is
        ``seeds``; the others are not compared, and ``one seed``): ``difference_to_best`` and ``p_to_best``, adjusted
        for all pairs; ``difference_to_ce``, ``difference_to_ce_interval`` and ``p_to_ce``, adjusted for a false
        discovery rate among all methods that are compared with ``ce``, a tuned one with ``ce`` tuned by as many trials.
        Rows that were trained as published are neither ranked nor compared: each has a recipe of its own, which is
        ``trained_under``. They have ``published`` and ``published_source``, the accuracy that they were trained for,
        and ``verdict`` on it, see `ltbench.results.papers.verdict`.
        A difference is estimated from all seeds of all methods, so where methods have different seeds it is not exactly
        the difference of their means.
    """
    keys = [*TABLE, "method"]
    derived = [*COMPARED, "interval", "best", "tied"]
    measured = [*METRICS, *OF_HITS, *COSTS]
    if cells.empty:
        of_board = ["seeds", "failed", "reason", *measured, *PAPER, *AS_BOARD, *TUNED, "rounding", "shots"]
        of_board += ["verdict", "rank", "relative_accuracy"]
        return pd.DataFrame(columns=[*keys, *of_board, *derived])
    done = cells[cells.status == "done"]
    failed = cells[cells.status == "failed"].groupby(keys).reason
    of_method = done.groupby(keys)
    board = of_method[measured].mean()
    board["seeds"] = of_method.size()
    board["interval_from"] = np.where(board.seeds == 1, "images", "seeds")
    board = board.join(of_method[[*PAPER, *AS_BOARD, *TUNED]].first())
    verdicts = {key: _verdict(part) for key, part in done[done.published.notna()].groupby(keys)}
    board["verdict"] = [verdicts.get(key) for key in board.index]
    board["rounding"] = of_method.rounding.agg(lambda given: " | ".join(dict.fromkeys(given)))
    reasons = failed.agg(lambda given: "; ".join(dict.fromkeys(given)))
    board = board.join(pd.DataFrame({"failed": failed.size(), "reason": reasons}), how="outer").reset_index()
    numbers = ["seeds", "failed", "trials"]
    board[numbers] = board[numbers].fillna(0).astype(int)
    board["shots"] = cells.shots.iloc[0]

    board["rank"] = board.groupby(TABLE).balanced_accuracy.rank(method="min", ascending=False).astype("Int64")
    board["relative_accuracy"] = _relative_accuracy(board)
    board.loc[board.recipe.str.startswith(AS_PUBLISHED), ["rank", "relative_accuracy"]] = np.nan
    compared = [_compared(part) for _, part in done.groupby(TABLE)]
    board = board.merge(pd.concat(compared or [pd.DataFrame(columns=[*keys, *derived])]), "left", keys)
    board[["best", "tied"]] = board[["best", "tied"]].eq(True)
    return in_order(board)


def _verdict(seeds: pd.DataFrame) -> str:
    """Whether a row that was trained as published reaches the published accuracy.

    Args:
        seeds: its finished cells.
    """
    if different := "; ".join(dict.fromkeys(filter(None, seeds.not_as_published))):
        return f"not comparable: other {different}"
    ours = seeds.ours_as_published.astype(float)
    difference = float(ours.mean() - seeds.published.iloc[0])
    half_width = float(seed_interval(ours.std(), len(ours)))
    spread = "" if np.isnan(half_width) else f" ± {half_width:.1f}"
    return f"{difference:+.1f}{spread}, {verdict(difference, half_width, len(ours))}"


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of tables in the order of the leaderboard: table by table, the most imbalanced first; the best row first."""
    strength = rows.imbalance.str.extract(r"([\d.]+)$", expand=False).astype(float).fillna(0.0)
    rest = [name for name in TABLE if name not in ("dataset", "recipe")]
    keys = ["dataset", "recipe", "strength", *rest, "balanced_accuracy"]
    ascending = [key not in ("strength", "balanced_accuracy") for key in keys]
    ordered = rows.assign(strength=strength).sort_values(keys, ascending=ascending)
    return ordered.drop(columns="strength").reset_index(drop=True)


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
    seeds, controls = by_seed.notna().sum(axis=1), of_method.control.first()
    found = pd.DataFrame(np.nan, by_seed.index, [*COMPARED[:5], "interval"]).assign(
        compared_over=np.where(seeds > 1, "seeds", "one seed"), best=False, tied=False
    )
    found["interval"] = np.where(
        seeds > 1, seed_interval(by_seed.std(axis=1), seeds), 1.96 * of_method.image_error.first()
    )
    several = by_seed.index[seeds > 1]
    if done.recipe.iloc[0].startswith(AS_PUBLISHED):
        return found.assign(compared_over="other recipes").reset_index().assign(**done[TABLE].iloc[0])
    if len(several) > 1:
        model = fit(by_seed.loc[several].to_numpy())
        best, differences, p = against_best(model)
        found.loc[several, "interval"] = intervals(model)
        found.loc[several, "difference_to_best"], found.loc[several, "p_to_best"] = differences, p
        found.loc[several, "tied"] = p >= 1 - LEVEL
        found.loc[several[best], "best"] = True
        for control in controls.unique():  # a tuned method is compared with ce tuned as long
            family = several[controls[several] == control]
            if control in family and len(family) > 1:
                others = family.drop(control)
                to_ce = against_control(model, list(several).index(control), several.isin(others))
                found.loc[others, list(COMPARED[:3])] = np.stack(to_ce, axis=1)
    return found.reset_index().assign(**done[TABLE].iloc[0])
