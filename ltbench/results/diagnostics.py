"""What records and logits say beyond the leaderboard, as frames: what plots and the report show. Needs no torch.

All functions take ``cells``, the rows of ``frames.load_results`` that are wanted, and ``records``, the records by id.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ltbench.plan.recipe import FAMILIES
from ltbench.results.leaderboard import TABLE
from ltbench.results.store import Record, Store

if TYPE_CHECKING:
    from ltbench.method.contract import Figure

BINS = 15
"""Of confidence, as in the ECE (`ltbench.metrics`)."""


def _finished(cells: pd.DataFrame, records: Mapping[str, Record]) -> Iterator[tuple[str, list[Record]]]:
    """Each method with the records of its finished cells."""
    for method, part in cells[cells.status == "done"].groupby("method", sort=False):
        yield str(method), [records[cell] for cell in part.id]


def per_class(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """Recall of every class beside its size.

    Returns:
        One row a method x class with test images: ``method``, ``class``, ``images`` (training), ``accuracy`` (percent,
        mean over seeds).
    """
    parts = []
    for method, of_method in _finished(cells, records):
        totals = np.asarray(of_method[0]["test_counts"])
        recall = 100 * np.mean([record["hits"] for record in of_method], axis=0) / np.maximum(totals, 1)
        columns = {"images": of_method[0]["class_counts"], "accuracy": recall}
        part = pd.DataFrame({"method": method, "class": range(len(totals))} | columns)
        parts.append(part[totals > 0])
    return pd.concat(parts, ignore_index=True)


def curves(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """How training went, over the epochs of a method's own stages one after another.

    Returns:
        One row a method x epoch: ``method``, ``epoch`` (from 1), ``loss`` of training and ``balanced_accuracy`` on the
        test split (percent; NaN where it was not evaluated), means over seeds. An epoch 0 is a post-hoc step.
    """
    parts = []
    for method, of_method in _finished(cells, records):
        seeds = pd.concat([_curve(record) for record in of_method])
        parts.append(seeds.groupby("epoch", as_index=False).mean().assign(method=method))
    return pd.concat(parts, ignore_index=True)


def _curve(record: Record) -> pd.DataFrame:
    losses: list[float] = []
    starts = {}
    for part in record["losses"]:
        starts[part["stage"]] = len(losses)
        losses += part["loss"]
    tested = {starts[e["stage"]] + e["epoch"]: e["test"]["balanced_accuracy"] for e in record["evaluations"]}
    curve = pd.DataFrame({"loss": pd.Series(losses, range(1, len(losses) + 1), float)})
    return curve.join(pd.Series(tested, name="balanced_accuracy"), how="outer").rename_axis("epoch").reset_index()


def best_on_test_bias(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """How much higher a method looks when the epoch is chosen on the test set.

    Returns:
        One row a cell: ``method``, ``seed``, ``bias`` (balanced accuracy under ``best-on-test`` less that under
        ``last``, points) and ``evaluations``, how many of the last stage the best was chosen among.
    """
    rows = []
    for method, of_method in _finished(cells, records):
        for record in of_method:
            best, last = (record["protocols"][name]["balanced_accuracy"] for name in ("best-on-test", "last"))
            final = record["evaluations"][-1]["stage"]
            among = sum(evaluation["stage"] == final for evaluation in record["evaluations"])
            rows.append({"method": method, "seed": record["seed"], "bias": best - last, "evaluations": among})
    return pd.DataFrame(rows)


def reliability_bins(logits: ArrayLike, labels: ArrayLike) -> pd.DataFrame:
    """Confidence against accuracy in 15 equal-width bins (Guo et al., ICML 2017, equations 1 and 2).

    Args:
        logits: [N, C].
        labels: [N].

    Returns:
        One row a bin: ``images``, ``correct`` (how many of them) and ``confidence`` (sum of their top probabilities).
    """
    z = np.asarray(logits, np.float32)
    confidence = 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, dtype=np.float64)
    correct = z.argmax(axis=1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    sums = {"correct": correct, "confidence": confidence}
    counts: NDArray[np.int64] = np.bincount(bins, minlength=BINS)
    return pd.DataFrame({"images": counts} | {name: np.bincount(bins, w, BINS) for name, w in sums.items()})


def reliability(cells: pd.DataFrame, store: Store) -> tuple[pd.DataFrame, list[str]]:
    """Reliability of every method, from the stored logits of all seeds together.

    Returns:
        One row a method x bin: ``method``, ``bin``, ``images``, ``accuracy`` and ``confidence`` (means in [0, 1], NaN
        where the bin is empty); and the ids of cells without logits that can be read.
    """
    parts, missing = [], []
    for method, part in cells[cells.status == "done"].groupby("method", sort=False):
        total = pd.DataFrame(0.0, index=range(BINS), columns=["images", "correct", "confidence"])
        for cell in part.id:
            try:
                arrays = store.arrays(cell)
            except (OSError, ValueError, zipfile.BadZipFile):
                missing.append(str(cell))
                continue
            total += reliability_bins(arrays["logits"], arrays["labels"])
        if total.images.any():
            means = total[["correct", "confidence"]].div(total.images.where(total.images > 0), axis=0)
            means = means.rename(columns={"correct": "accuracy"}).assign(images=total.images, bin=total.index)
            parts.append(means.assign(method=method))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(), missing


def against_papers(
    board: pd.DataFrame,
    cells: pd.DataFrame,
    records: Mapping[str, Record],
    published: "Mapping[str, Sequence[Figure]]",
) -> pd.DataFrame:
    """Ours beside what papers report for the same method, data set and imbalance.

    A figure is compared only where all of data set, recipe family, backbone and hyper-parameters are the same.

    Args:
        board: from ``frames.leaderboard(cells)``.
        published: figures of each method; where a method has none here, what its records hold counts.

    Returns:
        One row a method x figure: ``method``, ``dataset``, ``imbalance``, ``recipe``, ``balanced_accuracy``,
        ``interval``, ``interval_from``, ``seeds``, ``best_on_test`` (ours, as most papers choose the epoch), ``paper``,
        ``source``, ``family``, ``grade``, ``backbone``, ``difference`` (ours less the paper's, points; NaN where they
        are not comparable) and ``verdict``: ``within`` our 95 % interval, ``below`` or ``above`` the paper's figure, or
        why they are not comparable.
    """
    one_of = cells[cells.status == "done"].groupby([*TABLE, "method"]).id.agg(list)
    rows = []
    for row in board[board.seeds > 0].to_dict("records"):
        of_row = [records[cell] for cell in one_of[tuple(row[key] for key in [*TABLE, "method"])]]
        best = float(np.mean([r["protocols"]["best-on-test"]["balanced_accuracy"] for r in of_row]))
        for figure in _figures(of_row[0], published):
            other = _other(of_row[0], figure)
            difference = np.nan if other else row["balanced_accuracy"] - figure["paper"]
            if other:
                verdict = f"not comparable: other {other}"
            else:
                verdict = "within" if abs(difference) <= row["interval"] else "above" if difference > 0 else "below"
            ours = ("method", "dataset", "imbalance", "recipe", "balanced_accuracy", "interval", "interval_from")
            rows.append({name: row[name] for name in (*ours, "seeds")} | {"best_on_test": best} | figure)
            rows[-1] |= {"difference": difference, "verdict": verdict}
    return pd.DataFrame(rows)


def _figures(record: Record, published: "Mapping[str, Sequence[Figure]]") -> list[dict[str, Any]]:
    fields = ("dataset", "source", "family", "grade", "backbone")
    images = record["dataset"].split(" (")[0]
    found = [
        {f"paper_{name}": getattr(figure, name) for name in fields} | {"paper": figure.accuracy}
        for figure in published.get(record["method"], ())
        if figure.dataset == images and figure.imbalance == record["imbalance"]
    ]
    if not found and record["published"]:
        accuracy, text = record["published"]
        source, _, grade = text.rpartition(", grade ")
        family, backbone = FAMILIES.get(record["recipe"], ""), record["settings"]["recipe"]["backbone"]
        values = (record["dataset"], source, family, grade, backbone)
        found = [{f"paper_{name}": v for name, v in zip(fields, values, strict=True)} | {"paper": accuracy}]
    return found


def _other(record: Record, figure: Mapping[str, Any]) -> str:
    """In what a result differs from a figure, so that they may not be compared; empty if they may."""
    differs = {
        "images": figure["paper_dataset"] != record["dataset"] or record["holdout"] > 0,
        "recipe": figure["paper_family"] != FAMILIES.get(record["recipe"]),
        "backbone": figure["paper_backbone"] != record["settings"]["recipe"]["backbone"],
        "hyper-parameters": bool(record["hyperparameters"] or record.get("trials")),
    }
    return ", ".join(what for what, other in differs.items() if other)
