"""What a method gets right and wrong in each class: recalls, gains over `ce`, and which classes are confused.

Needs no torch. Every interval is for its class alone: among many classes some exclude 0 by chance.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from ltbench.metrics import Shots, shot_groups
from ltbench.plan.cell import AS_PUBLISHED
from ltbench.results.diagnostics import recalls
from ltbench.results.leaderboard import TABLE, in_order
from ltbench.results.record import Record
from ltbench.results.statistics import LEVEL, seed_interval
from ltbench.results.store import NoPredictions, Store

FRAME = ("class", "name", "group", "images", "test_images", "recall", "low", "high", "gain", "gain_interval")
"""Columns of `ClassReport.frame`."""


@dataclass(frozen=True, eq=False)
class ClassReport:
    """A method's classes in one table of the leaderboard.

    Attributes:
        place: the columns ``TABLE`` of its table.
        method: as tables print it.
        seeds: its finished seeds.
        baseline: the method that gains are over; empty where the table does not have it.
        frame: one row a class, in label order: ``class`` (its label), ``name``, ``group`` (many, medium or few),
            ``images`` and ``test_images``; ``recall`` in percent (mean over seeds; NaN without test images) with its
            95 % interval from ``low`` to ``high`` (over seeds; with one seed, and where all seeds agree, Jeffreys' from
            the test images); ``gain`` over ``baseline`` in points, on the seeds that both have, and ``gain_interval``,
            the half width of its 95 % interval (NaN for one seed, and where all seeds agree).
        confusion: [C, C]: the share in percent of the test images of each class (row) that are predicted as each class
            (column), mean over seeds; NaN for a class without test images. None where no predictions can be read.
        missing: ids of cells whose predictions are not stored any more.
    """

    place: Mapping[str, Any]
    method: str
    seeds: int
    baseline: str
    frame: pd.DataFrame
    confusion: NDArray[np.float64] | None
    missing: tuple[str, ...]

    def pairs(self, most: int) -> pd.DataFrame:
        """The pairs of classes that are confused most often.

        Returns:
            One row a pair, the most frequent first: ``true`` and ``predicted`` (labels) and ``share``, the percentage
            of the test images of the true class that are predicted as the other one.
        """
        if self.confusion is None:
            return pd.DataFrame(columns=["true", "predicted", "share"])
        wrong = np.nan_to_num(self.confusion)
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        true, predicted = np.unravel_index(order, wrong.shape)
        frame = pd.DataFrame({"true": true, "predicted": predicted, "share": wrong[true, predicted]})
        return frame[frame.share > 0]


def class_reports(
    cells: pd.DataFrame,
    records: Mapping[str, Record],
    store: Store,
    methods: Collection[str] | None = None,
    shots: Shots = "auto",
) -> dict[str, list[ClassReport]]:
    """The classes of methods, in each table that they are finished in, in the order of the leaderboard.

    Args:
        cells: from ``load_results`` under protocol ``last``.
        records: by id.
        store: has the predictions.
        methods: as tables print them; None: all.
        shots: groups of classes.

    Returns:
        The reports of each method.
    """
    found: dict[str, list[ClassReport]] = {}
    done = in_order(cells[cells.status == "done"])
    for place, table in done.groupby(TABLE, sort=False):
        means = table.groupby("method").balanced_accuracy.mean().sort_values(ascending=False, kind="stable")
        for method in means.index:
            if methods is not None and method not in methods:
                continue
            part = table[table.method == method]
            compared = not part.recipe.iloc[0].startswith(AS_PUBLISHED)  # those rows have other recipes
            baseline = table[(table.method == part.control.iloc[0]) & compared]
            where = dict(zip(TABLE, place, strict=True)) | {"shots": str(shots)}
            report = _report(where, str(method), part, baseline, records, store, shots)
            found.setdefault(str(method), []).append(report)
    return found


def jeffreys(hits: ArrayLike, totals: ArrayLike) -> NDArray[np.float64]:
    """Jeffreys' 95 % interval of a proportion: quantiles of Beta(hits + 1/2, misses + 1/2), [2, ...].

    As Brown, Cai and DasGupta (Statistical Science, 2001, section 3.1.3) advise, it begins at 0 where there is no hit
    and ends at 1 where there is no miss.
    """
    k, n = np.asarray(hits, float), np.asarray(totals, float)
    low = np.where(k == 0, 0, betaincinv(k + 0.5, n - k + 0.5, (1 - LEVEL) / 2))
    high = np.where(k == n, 1, betaincinv(k + 0.5, n - k + 0.5, (1 + LEVEL) / 2))
    return np.stack([low, high])


def confusion(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.float64]:
    """The share in percent of each class's images (row) that are predicted as each class (column), [C, C].

    Args:
        labels: [N].
        predicted: [N].
        classes: C.
    """
    places = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    counts = np.bincount(places, minlength=classes**2).reshape(classes, classes)
    with np.errstate(invalid="ignore"):  # a class without images
        shares: NDArray[np.float64] = 100 * counts / counts.sum(axis=1, keepdims=True)
    return shares


def _report(
    place: Mapping[str, Any],
    method: str,
    part: pd.DataFrame,
    baseline: pd.DataFrame,
    records: Mapping[str, Record],
    store: Store,
    shots: Shots,
) -> ClassReport:
    """The report of a method's cells in a table, beside those of the baseline."""
    result, n = records[part.id.iloc[0]].finished, len(part)
    recall = _recalls(part, records)
    mean, half = _over_seeds(recall)
    of_images = 100 * jeffreys(result.hits, result.test_counts)
    low, high = np.where(np.isnan(half), of_images, np.clip([mean - half, mean + half], 0, 100))
    gains = recall - _recalls(baseline, records) if len(baseline) and baseline.method.iloc[0] != method else None
    groups = shot_groups(result.class_counts, shots)
    group_of = {label: name for name, members in groups.items() for label in members}
    tested = np.array(result.test_counts) > 0
    columns = {
        "class": range(len(mean)),
        "name": result.classes,
        "group": [group_of[label] for label in range(len(mean))],
        "images": result.class_counts,
        "test_images": result.test_counts,
        "recall": mean,
        "low": np.where(tested, low, np.nan),
        "high": np.where(tested, high, np.nan),
        **_gains(gains, len(mean)),
    }
    matrices, missing = [], []
    for cell in part.id:
        try:
            arrays = store.arrays(records[cell])
        except NoPredictions:
            missing.append(str(cell))
        else:
            matrices.append(confusion(arrays["labels"], arrays["predicted"], len(mean)))
    return ClassReport(
        place=place,
        method=method,
        seeds=n,
        baseline="" if gains is None else str(baseline.method.iloc[0]),
        frame=pd.DataFrame(columns, columns=list(FRAME)),
        confusion=np.mean(matrices, axis=0) if matrices else None,
        missing=tuple(missing),
    )


def _recalls(part: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """Recall in percent, one row a seed, one column a class."""
    return pd.DataFrame(recalls([records[cell].finished for cell in part.id]), index=part.seed)


def _gains(gains: pd.DataFrame | None, classes: int) -> dict[str, NDArray[np.float64]]:
    """The columns of gains, from those of each seed (NaN for a seed that one of the two does not have)."""
    paired = pd.DataFrame() if gains is None else gains.dropna(how="all")
    if paired.empty:
        return dict.fromkeys(("gain", "gain_interval"), np.full(classes, np.nan))
    return dict(zip(("gain", "gain_interval"), _over_seeds(paired), strict=True))


def _over_seeds(values: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean over seeds and the half width of its interval, from one row a seed.

    The half width is NaN where seeds show no spread: for one seed, and where all agree, as in a class that is always or
    never recognised.
    """
    spread = values.std().to_numpy()
    half = seed_interval(spread, np.full(len(spread), len(values)))
    return values.mean().to_numpy(), np.where(spread > 1e-9, half, np.nan)
