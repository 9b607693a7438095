"""Findings beyond the leaderboard, as frames: the data of plots and of the report. Needs no torch.

``cells`` are always rows of ``load_results``, and ``records`` the records by id.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ltbench.method.published import Published
from ltbench.metrics import ECE_BINS, class_weights, confidence_bins
from ltbench.results.leaderboard import TABLE
from ltbench.results.papers import differences, verdict
from ltbench.results.record import Protocol, Record, Result
from ltbench.results.store import NoPredictions, Store


def _finished(cells: pd.DataFrame, records: Mapping[str, Record]) -> Iterator[tuple[str, list[Result]]]:
    """Each method with the results of its finished cells."""
    for method, part in cells[cells.status == "done"].groupby("method", sort=False):
        yield str(method), [records[cell].finished for cell in part.id]


def recalls(results: Sequence[Result]) -> NDArray[np.float64]:
    """Recall of each class after the last epoch in percent, [runs, C]; NaN for a class without test images."""
    totals = np.array([result.test_counts for result in results], float)
    totals[totals == 0] = np.nan
    recall: NDArray[np.float64] = 100 * np.array([result.hits for result in results]) / totals
    return recall


def per_class(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """Recall of every class and its number of training images.

    Returns:
        One row a method x class with test images: ``method``, ``class``, ``images`` (training), ``accuracy`` (percent,
        mean over seeds).
    """
    parts = []
    for method, results in _finished(cells, records):
        columns = {"images": results[0].class_counts, "accuracy": recalls(results).mean(axis=0)}
        part = pd.DataFrame({"method": method, "class": range(len(results[0].class_counts))} | columns)
        parts.append(part.dropna())
    return pd.concat(parts, ignore_index=True)


def history(result: Result) -> Iterator[tuple[str, float, int]]:
    """The training of a cell: every loss and every evaluation of its own stages, in order.

    Yields:
        Metric (``train/loss``, ``test/few``, ``val/ece``, ...), value, and epoch, counted from 1 over the stages. A
        post-hoc step, which has no epochs, belongs to the last epoch before it (0 where there is none).
    """
    before = 0
    for part in result.losses:
        yield from (("train/loss", loss, before + epoch) for epoch, loss in enumerate(part.loss, 1))
        for evaluation in result.evaluations:
            if evaluation.stage == part.stage:
                for split, measured in (("val", evaluation.val), ("test", evaluation.test)):
                    for name, value in measured or ():
                        if value is not None:
                            yield f"{split}/{name}", value, before + evaluation.epoch
        before += len(part.loss)


def curves(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """The course of training, over the epochs of a method's own stages one after another.

    Returns:
        One row a method x epoch (see ``history``): ``method``, ``epoch``, training ``loss`` and ``balanced_accuracy``
        of the split that is reported (percent; NaN where it was not evaluated), means over seeds.
    """
    parts = []
    for method, results in _finished(cells, records):
        seeds = pd.concat([_curve(result) for result in results])
        parts.append(seeds.groupby("epoch", as_index=False).mean().assign(method=method))
    return pd.concat(parts, ignore_index=True)


def _curve(result: Result) -> pd.DataFrame:
    names = {"train/loss": "loss", f"{result.measured_on}/balanced_accuracy": "balanced_accuracy"}
    points = pd.DataFrame(history(result), columns=["metric", "value", "epoch"]).replace({"metric": names})
    by_epoch = points.pivot_table("value", "epoch", "metric", aggfunc="last")
    return by_epoch.reindex(columns=list(names.values())).reset_index()


def best_on_test_bias(cells: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """The points of accuracy that choosing the epoch on the test set adds.

    Returns:
        One row a cell with a test split: ``method``, ``seed``, ``bias`` (balanced accuracy under ``best-on-test`` less
        that under ``last``, points), ``evaluations`` and ``epochs`` of the last stage: among so many evaluations of so
        many epochs the best was chosen.
    """
    rows = []
    done = cells[cells.status == "done"]
    for cell, method, seed in zip(done.id, done.method, done.seed, strict=True):
        result = records[cell].finished
        if best := result.protocols.get("best-on-test"):
            bias = best.balanced_accuracy - result.last.balanced_accuracy
            among = sum(evaluation.stage == result.evaluations[-1].stage for evaluation in result.evaluations)
            rows.append((method, seed, bias, among, len(result.losses[-1].loss)))
    return pd.DataFrame(rows, columns=["method", "seed", "bias", "evaluations", "epochs"])


def reliability_bins(logits: ArrayLike, labels: ArrayLike) -> pd.DataFrame:
    """Accuracy and confidence in the 15 bins of the ECE (Guo et al., ICML 2017, equations 1 and 2).

    As in `ltbench.metrics.scores`, every class has the same weight.

    Args:
        logits: [N, C].
        labels: [N].

    Returns:
        One row a bin: number of ``images``, their ``weight``, the weight of the ``correct`` ones, and ``confidence``,
        the weighted sum of the probabilities of their predicted classes. The weights of all bins are together 1.
    """
    z = np.asarray(logits, np.float32)
    confidence = 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, dtype=np.float64)
    correct = z.argmax(axis=1) == np.asarray(labels)
    weight = class_weights(np.asarray(labels))
    sums = {"images": None, "weight": weight, "correct": weight * correct, "confidence": weight * confidence}
    bins = confidence_bins(confidence)
    return pd.DataFrame({name: np.bincount(bins, values, ECE_BINS) for name, values in sums.items()})


def reliability(cells: pd.DataFrame, store: Store) -> tuple[pd.DataFrame, list[str]]:
    """Reliability of every method, from the stored logits of all seeds together.

    Returns:
        One row a method x bin: ``method``, ``bin``, ``images``, ``accuracy`` and ``confidence`` (means in [0, 1], each
        class with the same weight; NaN where the bin is empty); and the ids of cells whose logits are missing.

    Raises:
        InputError: for predictions that are not those of their record.
    """
    parts, missing = [], []
    records = store.latest()
    for method, part in cells[cells.status == "done"].groupby("method", sort=False):
        total = pd.DataFrame(0.0, index=range(ECE_BINS), columns=["images", "weight", "correct", "confidence"])
        for cell in part.id:
            try:
                arrays = store.arrays(records[cell])
            except NoPredictions:
                missing.append(str(cell))
                continue
            total += reliability_bins(arrays["logits"], arrays["labels"])
        if total.images.any():
            means = total[["correct", "confidence"]].div(total.weight.where(total.images > 0), axis=0)
            means = means.rename(columns={"correct": "accuracy"}).assign(images=total.images, bin=total.index)
            parts.append(means.assign(method=method))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(), missing


def against_papers(
    boards: Mapping[Protocol, pd.DataFrame],
    cells: pd.DataFrame,
    records: Mapping[str, Record],
    published: Mapping[str, Sequence[Published]],
) -> pd.DataFrame:
    """Our accuracies beside the published ones of the same method, data set and imbalance.

    Each is compared with ours of the epoch that its source reports, and only where no setting differs.

    Args:
        boards: the leaderboard of these cells under the protocols ``last`` and ``best-on-test``.
        cells: from ``load_results``, under either protocol.
        published: accuracies of each method, from `ltbench.results.papers.published`.

    Returns:
        One row a method x published accuracy: ``method``, ``dataset``, ``imbalance``, ``recipe``,
        ``balanced_accuracy``, ``interval``, ``interval_from``, ``seeds``, ``best_on_test`` (ours under this protocol;
        NaN without a test split), ``paper`` and, with this prefix, the fields of `Published`; ``difference`` (ours less
        the paper's, points; NaN where they are not comparable) and ``verdict``, see `ltbench.results.papers.verdict`,
        or the reason why they are not comparable.
    """
    ids = cells[cells.status == "done"].groupby([*TABLE, "method"]).id.first()
    ours = ("method", "dataset", "imbalance", "recipe", "balanced_accuracy", "interval", "interval_from", "seeds")
    keys = [*TABLE, "method"]
    in_board = {
        name: {tuple(row[key] for key in keys): row for row in board.to_dict("records")}
        for name, board in boards.items()
    }
    rows = []
    for key, row in in_board["last"].items():
        if not row["seeds"]:
            continue
        record = records[ids[key]]
        for paper in published.get(record.method, ()):
            if (paper.dataset, paper.imbalance) != (record.dataset.split(" (")[0], record.imbalance):
                continue
            different = differences(record, paper)
            chosen = in_board[paper.epoch or "last"][key]
            difference = np.nan if different else chosen["balanced_accuracy"] - paper.accuracy
            found = {
                "best_on_test": in_board["best-on-test"][key]["balanced_accuracy"],
                "paper": paper.accuracy,
                **{f"paper_{name}": value for name, value in vars(paper).items() if name != "accuracy"},
                "difference": difference,
                "verdict": f"not comparable: other {', '.join(different)}"
                if different
                else verdict(difference, chosen["interval"], chosen["seeds"]),
            }
            rows.append({name: row[name] for name in ours} | found)
    return pd.DataFrame(rows)
