"""The look of all plots: style, colours, and the placement of names.

Colours are from the palette of Okabe and Ito, which colour-blind readers can distinguish; blue is the best method and
those not significantly different from it, orange is ``ce``.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from ltbench.plan.cell import BASELINE

INK, LINE, GREY = "#1a1a1a", "#dddddd", "#8c8c8c"
BEST, BASE = "#0072b2", "#d55e00"
SERIES = (BEST, "#009e73", "#cc79a7", "#56b4e9")
OTHERS: dict[str, Any] = {"color": GREY, "lw": 0.6, "alpha": 0.55}
WIDTH, HALF = 9.2, 6.1
"""Width in inches of a wide figure, and of one of two side by side."""
ROW = 0.185
"""Height in inches of a method's row."""
LONGEST = 40
"""Characters of a method's name that are shown at most."""
STYLE: Any = {
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
}

P = ParamSpec("P")


@contextlib.contextmanager
def style(**more: Any) -> Iterator[None]:
    """Draw and save in this module's style, independent of the user's own."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | more)
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws in this module's style."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return in_style


def short(name: str, longest: int = LONGEST) -> str:
    """A method's name, with an ellipsis in the middle if it is too long."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[1 - longest // 2 :]}"


def colour(row: Any) -> str:
    """The colour of a row of the leaderboard."""
    return BEST if row.best or row.tied else BASE if row.method == BASELINE else GREY


def highlighted(board: pd.DataFrame) -> dict[str, str]:
    """The methods that are drawn in colour where lines overlap, with their colours: the best few and ``ce``."""
    done = board[board.seeds > 0].sort_values("balanced_accuracy", ascending=False, kind="stable")
    first = done.method[done.method != BASELINE].head(len(SERIES))
    return dict(zip(first, SERIES, strict=False)) | ({BASELINE: BASE} if BASELINE in set(done.method) else {})


def rows_of(frame: pd.DataFrame) -> list[Any]:
    """The rows of a frame, its columns as attributes."""
    return list(frame.itertuples())


def by_accuracy(board: pd.DataFrame) -> pd.DataFrame:
    """The finished rows, the best first, then the failed ones."""
    return board.sort_values("balanced_accuracy", ascending=False, kind="stable", na_position="last")


def name_rows(axes: Axes, methods: Iterable[str]) -> None:
    """Label one row per method, from top to bottom."""
    names = [short(method) for method in methods]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def log_axis(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with plain numbers and several ticks even within one decade."""
    axes.set_xscale("log")
    low, high = axes.dataLim.intervalx
    subs = (1, 2, 5) if high > 10 * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())


Box = tuple[float, float, float, float]


def name_points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str]) -> None:
    """Write names beside points without covering a point or another name; a name without room is skipped."""
    size, points = 6.8, 72 / axes.figure.dpi
    places = points * axes.transData.transform(np.column_stack([x, y]))
    left, bottom, right, top = points * np.asarray(axes.bbox.extents)
    taken: list[Box] = [(px - 3, py - 3, px + 3, py + 3) for px, py in places]
    directions = [(1, 0), (-1, 0), (1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (0, 1), (0, -1), (0.5, 1), (0.5, -1)]
    directions += [(-0.5, 1), (-0.5, -1)]
    for (px, py), point, name in zip(places, zip(x, y, strict=True), names, strict=True):
        text = short(name)
        width, height = 0.6 * size * len(text), 1.15 * size
        for distance, (dx, dy) in itertools.product((6, 12, 19, 27, 37, 49, 63, 80), directions):
            ax, ay = px + distance * dx, py + distance * dy
            x0 = ax if dx > 0 else ax - width if dx < 0 else ax - width / 2
            box = (x0, ay - height / 2, x0 + width, ay + height / 2)
            inside = box[0] >= left and box[2] <= right and box[1] >= bottom and box[3] <= top
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(
                    text,
                    point,
                    xytext=(distance * dx, distance * dy),
                    textcoords="offset points",
                    size=size,
                    ha="left" if dx > 0 else "right" if dx < 0 else "center",
                    va="center",
                    arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY, "shrinkA": 0} if distance > 6 else None,
                )
                break


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def name_ends(axes: Axes, ends: dict[str, float], colours: dict[str, str]) -> None:
    """Write names to the right of lines that end at these heights, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * 11 / (axes.bbox.height * 72 / axes.figure.dpi)
    names = sorted(ends, key=lambda name: ends[name])
    heights: list[float] = []
    for name in names:
        heights.append(max(ends[name], heights[-1] + gap) if heights else ends[name])
    for i in reversed(range(len(names))):
        heights[i] = min(heights[i], high if i == len(names) - 1 else heights[i + 1] - gap)
    for name, at in zip(names, heights, strict=True):
        end = ends[name]
        axes.annotate(
            short(name),
            (1, end),
            (12, (at - end) / gap * 11),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            size=7.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "lw": 1.5,
                "color": colours[name],
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
