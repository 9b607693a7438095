"""All nights: a table, and a plot of each figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ltbench.show.grid import Grid
from ltbench.show.style import BASE, BEST, WIDTH, short, style
from ltbench.show.tables import text_of

COLUMNS = 4
Line = Mapping[str, Any]
"""A line of the history."""


def history_as_text(history: Sequence[Line], width: int | None) -> str:
    """A table with one line a night."""
    rows = [[night["folder"], night["machine"], f"{night['seconds'] / 60:.1f}", _fallen(night)] for night in history]
    return text_of([Grid("nights", ["night", "machine", "minutes", "fell"], rows, wraps=True)], [], "table", width)


def _fallen(night: Line) -> str:
    return "; ".join(night["fell"]) or "nothing"


def write_plots(history: Sequence[Line], folder: Path) -> list[Path]:
    """Write a plot of each accuracy in one file, and of each ratio in another; returns the files."""
    found: dict[str, None] = dict.fromkeys(name for night in history for name in night["figures"])
    written = []
    for kind in ("accuracy", "ratio"):
        names = sorted(name for name in found if name.startswith(f"{kind}/"))
        if names:
            written.append(folder / f"history-{kind}.svg")
            with style(**{"font.size": 6.5, "axes.titlesize": 7}):
                over_nights(history, names).savefig(written[-1], metadata={"Date": None})
    return written


def over_nights(history: Sequence[Line], names: Sequence[str]) -> Figure:
    """A small plot of each figure over the nights; nights in which it fell are marked."""
    lines = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 1.2 * lines + 0.4), layout="constrained")
    plots = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
    last = len(history) - 1
    for axes, name in zip(plots, names, strict=False):
        values = np.array([night["figures"].get(name, np.nan) for night in history])
        title = name.partition("/")[2]
        fell = np.array([any(text.startswith(f"{title} ") for text in night["fell"]) for night in history])
        axes.plot(values, ".-", color=BEST, lw=0.8, ms=4)
        axes.plot(np.flatnonzero(fell), values[fell], "o", color=BASE, ms=5)
        axes.set_title(short(title, 30), loc="left")
        axes.set_xticks([0, last] if last else [0], [history[i]["created"][5:10] for i in ([0, last] if last else [0])])
        axes.margins(x=0.1, y=0.3)
    for axes in plots[len(names) :]:
        axes.remove()
    return figure
