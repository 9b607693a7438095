"""Plots of results as matplotlib figures, for the report, for papers and for MLflow; no window is opened.

The functions take one table's rows of ``leaderboard``, or frames of ``ltbench.results.diagnostics``.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter

from ltbench.plan.cell import BASELINE
from ltbench.show.style import (
    BASE,
    BEST,
    GREY,
    HALF,
    INK,
    OTHERS,
    ROW,
    SERIES,
    WIDTH,
    by_accuracy,
    colour,
    highlighted,
    log_axis,
    name_ends,
    name_points,
    name_rows,
    rows_of,
    short,
    styled,
)
from ltbench.show.style import style as style  # figures are saved in it, too

if TYPE_CHECKING:
    from ltbench.results.across_tables import Ranks
    from ltbench.tuning.study import Study


@styled
def accuracy(board: pd.DataFrame) -> Figure:
    """Balanced accuracy with its 95 % interval, the best first; hollow points have one seed."""
    ranked = by_accuracy(board)
    figure = Figure((HALF, 0.9 + ROW * len(ranked)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows_of(ranked)):
        if not row.seeds:
            axes.text(0.01, y, "failed", color=INK, va="center", style="italic", transform=axes.get_yaxis_transform())
            continue
        points = axes.errorbar(
            row.balanced_accuracy,
            y,
            xerr=None if pd.isna(row.interval) else row.interval,
            fmt="*" if row.best else "o",
            markersize=8 if row.best else 4,
            color=colour(row),
            elinewidth=1.2,
            markerfacecolor="none" if row.seeds == 1 else colour(row),
        )
        points.lines[0].set_gid(f"method:{row.method}")
    name_rows(axes, ranked.method)
    axes.set_xlim(max(0, axes.get_xlim()[0]), min(100.5, axes.get_xlim()[1]))
    axes.grid(axis="x")
    axes.set_xlabel("balanced accuracy in %, with 95 % interval")
    return figure


@styled
def shot_bars(board: pd.DataFrame) -> Figure:
    """Accuracy on many-, medium- and few-shot classes, methods sorted by balanced accuracy."""
    ranked = by_accuracy(board[board.seeds > 0])
    figure = Figure((HALF, 0.9 + ROW * len(ranked)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    for axes, group in zip(panels, ("many", "medium", "few"), strict=True):
        values = ranked[group].to_numpy(float)
        axes.barh(range(len(values)), values, height=0.72, color=[colour(row) for row in rows_of(ranked)])
        for y, value in enumerate(values):
            axes.text(np.nan_to_num(value) + 1, y, "–" if np.isnan(value) else f"{value:.1f}", va="center", size=7.5)
        axes.set_title(group)
        axes.set_xlabel("accuracy in %")
        axes.set_xlim(0, 128)
        axes.set_xticks((0, 50, 100))
        name_rows(axes, ranked.method)
    return figure


@styled
def head_tail(board: pd.DataFrame) -> Figure:
    """Accuracy on few-shot classes against accuracy on many-shot classes."""
    done = board[(board.seeds > 0) & board.many.notna() & board.few.notna()]
    figure = Figure((HALF, 5.6))
    axes = figure.add_axes((0.09, 0.09, 0.89, 0.89))
    _scatter(axes, done, "many", "few", "accuracy on many-shot classes in %", "accuracy on few-shot classes in %")
    return figure


@styled
def cost(board: pd.DataFrame) -> Figure:
    """Balanced accuracy against the training time of one seed; a line joins the methods that no cheaper one beats."""
    done = board[board.seeds > 0]
    figure = Figure((WIDTH, 4.2))
    axes = figure.add_axes((0.07, 0.115, 0.92, 0.87))
    _scatter(axes, done, "train_seconds", "balanced_accuracy", "seconds of training, one seed", "bal. accuracy in %")
    front = done.sort_values(["train_seconds", "balanced_accuracy"], ascending=[True, False], kind="stable")
    front = front[front.balanced_accuracy > front.balanced_accuracy.cummax().shift(fill_value=-np.inf)]
    axes.step(
        front.train_seconds, front.balanced_accuracy, where="post", color=GREY, lw=0.8, ls=":", zorder=1, label="front"
    )
    return figure


def _scatter(axes: Axes, board: pd.DataFrame, x: str, y: str, x_label: str, y_label: str) -> None:
    """Draw one named point for each method."""
    ranked = by_accuracy(board)
    axes.margins(0.14, 0.08)
    for row in rows_of(ranked):
        marker = "*" if row.best else "o"
        (point,) = axes.plot(
            getattr(row, x), getattr(row, y), marker, color=colour(row), markersize=9 if row.best else 4.5
        )
        point.set_gid(f"method:{row.method}")
    if x == "train_seconds":
        log_axis(axes)
    axes.autoscale_view()
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    axes.grid()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    name_points(axes, ranked[x].to_numpy(float), ranked[y].to_numpy(float), list(ranked.method))


SIZES = 25
"""Points on a line of accuracy against class size; of more classes, neighbours are averaged."""


@styled
def per_class(classes: pd.DataFrame, board: pd.DataFrame) -> Figure:
    """Accuracy of every class against its number of training images, one line per method.

    Args:
        classes: from ``diagnostics.per_class``.
        board: the table they belong to.
    """
    figure = Figure((WIDTH, 4.4))
    axes = figure.add_axes((0.065, 0.11, 0.635, 0.86))
    colours = highlighted(board)
    ends: dict[str, float] = {}
    for method, part in sorted(classes.groupby("method"), key=lambda item: item[0] in colours):
        name = str(method)
        by_size = part.groupby("images")[["images", "accuracy"]].mean()
        if len(by_size) > SIZES:
            groups = np.arange(len(by_size)) * SIZES // len(by_size)
            by_size = by_size.groupby(groups).mean()
        mark = {"color": colours[name], "lw": 1.8, "marker": "o", "ms": 3} if name in colours else OTHERS
        (line,) = axes.plot(by_size.images, by_size.accuracy, **mark)
        line.set_gid(f"method:{name}")
        ends |= {name: float(by_size.accuracy.iloc[0])} if name in colours else {}
    log_axis(axes)
    axes.invert_xaxis()
    axes.set_ylim(-2, 102)
    axes.grid(axis="y")
    axes.set_xlabel("training images of the class (head at the left, tail at the right)")
    axes.set_ylabel("accuracy of the class in %")
    name_ends(axes, ends, colours)
    return figure


@styled
def curves(epochs: pd.DataFrame, board: pd.DataFrame) -> Figure:
    """Training loss and balanced accuracy over a method's own epochs.

    Args:
        epochs: from ``diagnostics.curves``.
        board: the table they belong to.
    """
    figure = Figure((WIDTH, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = highlighted(board)
    for method, part in sorted(epochs.groupby("method"), key=lambda item: item[0] in colours):
        name = str(method)
        mark = {"color": colours[name], "lw": 1.6, "label": short(name)} if name in colours else OTHERS
        for axes, column in ((left, "loss"), (right, "balanced_accuracy")):
            known = part[part[column].notna()]
            marker = "o" if column == "balanced_accuracy" else ""
            (line,) = axes.plot(known.epoch, known[column], marker=marker, ms=3, **mark)
            line.set_gid(f"method:{name}")
    if (epochs.loss > 0).any():
        left.set_yscale("log")
        left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        left.yaxis.set_minor_formatter(NullFormatter())
    for axes, label in ((left, "training loss (each method's own)"), (right, "balanced accuracy in %")):
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch of the method's own stages")
        axes.set_ylabel(label)
    handles, labels = right.get_legend_handles_labels()
    columns = 3 if max(map(len, labels), default=0) <= 30 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


@styled
def reliability(bins: pd.DataFrame, board: pd.DataFrame) -> Figure:
    """Accuracy against confidence in 15 bins, one panel per method, with the ECE of the leaderboard.

    Args:
        bins: from ``diagnostics.reliability``.
        board: the table they belong to.
    """
    by_method = {str(method): part for method, part in bins.groupby("method")}
    ranked = [row for row in rows_of(by_accuracy(board)) if row.method in by_method]
    columns = min(6, len(ranked))
    lines = -(-len(ranked) // columns)
    size = (WIDTH, 0.8 + 1.5 * lines)
    figure = Figure(size)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    inches = {"left": 0.5, "right": WIDTH - 0.1 if columns == 6 else 0.5 + 1.45 * columns}
    figure.subplots_adjust(
        inches["left"] / WIDTH, 0.45 / size[1], inches["right"] / WIDTH, 1 - 0.42 / size[1], wspace=0.12, hspace=0.5
    )
    for axes, row in itertools.zip_longest(panels.flat, ranked):
        if row is None:
            axes.set_visible(False)
            continue
        part = by_method[row.method].sort_values("bin")
        edges = np.linspace(0, 1, len(part) + 1)
        axes.stairs(part.accuracy.fillna(0), edges, fill=True, color=colour(row), alpha=0.75)
        axes.plot([0, 1], [0, 1], color=INK, lw=0.7, ls="--")
        name = [short(part, 26) for part in row.method.replace("(", "\n(", 1).split("\n")]
        axes.set_title("\n".join([*name, f"ECE {row.ece:.1f}"]), size=7)
        axes.set(xlim=(0, 1), ylim=(0, 1), yticks=(0, 0.5, 1))
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.tick_params(labelsize=7, labelbottom=False)
    for axes in panels.T:
        axes[[panel.get_visible() for panel in axes].count(True) - 1].tick_params(labelbottom=True)
    figure.supxlabel("confidence", size=8, y=0.05 / size[1])
    figure.supylabel("accuracy", size=8, x=0.004)
    return figure


@styled
def best_on_test_bias(bias: pd.DataFrame) -> Figure:
    """The accuracy that choosing the epoch on the test set adds: bars are means over seeds, points are seeds.

    Args:
        bias: from ``diagnostics.best_on_test_bias``.
    """
    values = {"bias": ("bias", "mean"), "evaluations": ("evaluations", "max"), "epochs": ("epochs", "max")}
    means = bias.groupby("method").agg(**values).reset_index()
    means = means.sort_values(["bias", "method"], ascending=[False, True])
    figure = Figure((HALF, 0.8 + ROW * len(means)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(means)), means.bias, height=0.72, color=BEST, alpha=0.75)
    at = {method: y for y, method in enumerate(means.method)}
    axes.plot(bias.bias, bias.method.map(at), "o", color=INK, ms=2.2, ls="")
    for y, row in enumerate(rows_of(means)):
        among = f"all {row.epochs}" if row.evaluations >= row.epochs else f"{row.evaluations} of {row.epochs}"
        text = f"{row.bias:+.1f}, best of {among}" if row.evaluations > 1 else "one evaluation: no choice"
        axes.text(1.02, y, text, va="center", size=7.5, transform=axes.get_yaxis_transform())
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    name_rows(axes, means.method)
    axes.set_xlabel("best epoch on test minus last epoch, points of balanced accuracy")
    return figure


@styled
def critical_difference(ranks: "Ranks") -> Figure:
    """Average ranks over data sets; a bar joins methods that do not differ significantly (Demsar, JMLR 2006, figure 1).

    Args:
        ranks: over enough data sets to tell methods apart.
    """
    order = ranks.frame.average_rank.sort_values(kind="stable")
    n = len(order)
    half = -(-n // 2)
    groups = sorted(({order[m] for m in tied} for tied in ranks.tied if len(tied) > 1), key=min)
    spans = [(min(group), max(group)) for group in groups]
    below = 0.45 + 0.16 * len(spans)  # inches between the axis and the first name
    height = 0.9 + below + ROW * half
    figure = Figure((WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = 1.0, max(2.0, float(n))
    margin = 2.75
    inch = (WIDTH - 2 * margin) / (high - low)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))

    def place(rank: float) -> float:
        return margin + (rank - low) * inch

    top = 0.75
    axes.plot([place(low), place(high)], [top, top], color=INK, lw=1)
    step = max(1, n // 10)
    for rank in sorted({1, *range(step, n + 1, step)}):
        axes.plot([place(rank)] * 2, [top - 0.06, top], color=INK, lw=1)
        axes.text(place(rank), top - 0.1, str(rank), ha="center", va="bottom", size=7.5)
    difference = float(ranks.critical_difference)
    drawn = min(difference, high - low)
    axes.plot([place(low), place(low + drawn)], [0.3, 0.3], color=INK, lw=1.5, marker="|")
    wide = ", wider than the axis" if drawn < difference else ""
    note = (
        f"critical difference {difference:.1f}{wide} · {ranks.datasets} data sets · Friedman p = {ranks.friedman_p:.2g}"
    )
    axes.text(place(low), 0.2, note, va="bottom")
    for level, (first, last) in enumerate(spans):
        y = top + 0.2 + 0.16 * level
        axes.plot([place(first) - 0.04, place(last) + 0.04], [y, y], color=BEST, lw=3, solid_capstyle="butt")
    for i, (method, rank) in enumerate(order.items()):
        left = i < half
        y = top + below + ROW * (i if left else n - 1 - i)
        edge = margin - 0.12 if left else WIDTH - margin + 0.12
        axes.plot([place(rank), place(rank), edge], [top, y, y], color=GREY, lw=0.7)
        name = short(str(method), 30)
        name = f"{name}  {rank:.1f}" if left else f"{rank:.1f}  {name}"
        axes.text(edge - 0.05 if left else edge + 0.05, y, name, ha="right" if left else "left", va="center", size=8)
    return figure


@styled
def expected_best(studies: "Sequence[Study]") -> Figure:
    """Expected best validation accuracy after a number of trials (Dodge et al., EMNLP 2019), one line per method.

    Args:
        studies: of one table, each with a complete trial.
    """
    lines = {study.method: study.expected_best() for study in studies}
    first = sorted(lines, key=lambda method: -lines[method][-1])
    colours = dict(zip([m for m in first if m != BASELINE], SERIES, strict=False)) | {BASELINE: BASE}
    figure = Figure((WIDTH, 4.2))
    axes = figure.add_axes((0.065, 0.11, 0.635, 0.86))
    for method in reversed(first):
        values = lines[method]
        mark = {"color": colours[method], "lw": 1.8} if method in colours else OTHERS
        (line,) = axes.plot(range(1, len(values) + 1), values, **mark)
        line.set_gid(f"method:{method}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.set_xlabel("trials")
    axes.set_ylabel("expected best on validation, bal. accuracy in %")
    axes.set_ylim(axes.get_ylim())
    name_ends(axes, {m: lines[m][-1] for m in first if m in colours}, colours)
    return figure


@styled
def importances(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Importance of each hyper-parameter for the validation value, one panel per method.

    Args:
        shares: ``Study.importances`` of each method, not empty.
    """
    columns = 3
    by_size = sorted(shares.items(), key=lambda item: -len(item[1]))
    most = [len(found) for _, found in by_size[::columns]]
    figure = Figure((WIDTH, sum(0.45 + 0.2 * n for n in most) + 0.2), layout="constrained")
    panels = figure.subplots(len(most), columns, sharex=True, squeeze=False, height_ratios=most)
    for i, axes in enumerate(panels.flat):
        if i >= len(by_size):
            axes.set_visible(False)
            continue
        method, found = by_size[i]
        names = sorted(found, key=lambda name: -found[name])
        axes.barh(range(len(names)), [found[name] for name in names], height=0.7, color=BEST, alpha=0.75)
        name_rows(axes, names)
        axes.set_ylim(most[i // columns] - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_title(short(method), loc="left")
    return figure
