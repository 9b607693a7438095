"""Functions that read the results folder: ``report``, ``curves``, ``logits``, ``confusion`` and ``compare``."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ltbench.errors import InputError
from ltbench.metrics import Shots
from ltbench.results import classes, compared, diagnostics
from ltbench.results.status import ids_of
from ltbench.results.store import Store
from ltbench.show.page import write_report


def report(
    results: Path | str = "results",
    output: Path | str = "report.html",
    *,
    suite: str | None = None,
    figures: Path | str | None = None,
    shots: Shots = "auto",
    methods_dirs: Sequence[Path | str] = (),
) -> list[Path]:
    """Write one HTML page with all tables and plots, as ``ltbench report`` does.

    Args:
        results: the results folder.
        output: the HTML file.
        suite: only the cells of this suite; None: all.
        figures: folder for every plot as PNG and PDF, and every table as Markdown, CSV and LaTeX; None: none.
        shots: groups of classes: ``"auto"``, ``"terciles"`` or two numbers of training images, such as ``(20, 100)``.
        methods_dirs: folders with more methods.

    Returns:
        The files.

    Raises:
        InputError: when there are no results, or a file cannot be written.

    Example:
        >>> ltbench.report(figures="figures")[0]  # doctest: +SKIP
        PosixPath('report.html')
    """
    return write_report(
        Path(results),
        Path(output),
        ids_of(suite, Store(results)),
        None if figures is None else Path(figures),
        shots=shots,
        methods_dirs=[Path(folder) for folder in methods_dirs],
    )


def curves(cells: pd.DataFrame, results: Path | str = "results") -> pd.DataFrame:
    """The course of training of finished cells, for plots.

    Args:
        cells: rows of ``run`` or ``load_results``; others than finished ones are skipped.
        results: the results folder that they are from.

    Returns:
        One row a cell x epoch: ``id``, ``dataset``, ``imbalance``, ``recipe``, ``method``, ``seed``, ``epoch`` (counted
        from 1 over the stages of the method), and a column for each metric that was measured at some epoch:
        ``train/loss`` in nats, ``test/balanced_accuracy`` or ``val/few`` in percent, and so on; NaN at other epochs.

    Raises:
        InputError: for a cell that is not in the results folder.

    Example:
        >>> ltbench.curves(cells).plot("epoch", "train/loss")  # doctest: +SKIP
    """
    records = Store(results).latest()
    parts = []
    for row in cells[cells.status == "done"].to_dict("records"):
        record = records.get(row["id"])
        if record is None:
            raise InputError(f"cell {row['id']} is not in {results}; name its folder: curves(cells, results=FOLDER)")
        points = pd.DataFrame(diagnostics.history(record.finished), columns=["metric", "value", "epoch"])
        by_epoch = points.pivot_table("value", "epoch", "metric", aggfunc="last").reset_index()
        for place, name in enumerate(("id", "dataset", "imbalance", "recipe", "method", "seed")):
            by_epoch.insert(place, name, row[name])
        parts.append(by_epoch)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def logits(cell: str, results: Path | str = "results") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What the network of a cell says of each test image after the last epoch.

    Args:
        cell: its id, or the first characters of it.
        results: the results folder.

    Returns:
        The logits, [N, C], stored with the precision of float16, and the true classes, [N].

    Raises:
        InputError: when there is no such cell, or its predictions are not stored.

    Example:
        >>> scores, labels = ltbench.logits(cells.id[0])  # doctest: +SKIP
        >>> (scores.argmax(axis=1) == labels).mean()  # doctest: +SKIP
    """
    store = Store(results)
    arrays = store.arrays(store.one(cell))
    return arrays["logits"].astype(np.float32), arrays["labels"].astype(np.int64)


def confusion(cell: str, results: Path | str = "results") -> pd.DataFrame:
    """The confusion matrix of a cell on its test images.

    Args:
        cell: its id, or the first characters of it.
        results: the results folder.

    Returns:
        The share in percent of the test images of each class (row) that are predicted as each class (column), [C, C],
        with the names of the classes; NaN in the row of a class without test images.

    Raises:
        InputError: when there is no such cell, or its predictions are not stored.

    Example:
        >>> ltbench.confusion(cells.id[0]).round().head(3)  # doctest: +SKIP
    """
    store = Store(results)
    record = store.one(cell)
    names, arrays = record.finished.classes, store.arrays(record)
    shares = classes.confusion(arrays["labels"], arrays["predicted"], len(names))
    return pd.DataFrame(shares, pd.Index(names, name="true"), pd.Index(names, name="predicted"))


def compare(before: Path | str, after: Path | str) -> pd.DataFrame:
    """Compare two results folders, row by row of their leaderboards, as ``ltbench compare`` does.

    Args:
        before: results folder to compare with.
        after: results folder that may differ.

    Returns:
        One row a method in each table, see `ltbench.results.compared.Change`: the coordinates, ``verdict``, ``before``
        and ``after`` (mean balanced accuracy in percent), ``half_width`` of the 95 % interval of the difference in
        points, ``p``, ``touched``, and ``seeds``, the number of seeds in both.

    Example:
        >>> changes = ltbench.compare("results-of-main", "results")  # doctest: +SKIP
        >>> changes[changes.verdict == "worse"]  # doctest: +SKIP
    """
    rows = []
    for change in compared.compare(Store(before).latest().values(), Store(after).latest().values()):
        values = {name: value for name, value in asdict(change).items() if name not in ("place", "pairs")}
        rows.append({**change.place._asdict(), "seeds": len(change.pairs), **values})
    return pd.DataFrame(rows)
