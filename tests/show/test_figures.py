"""Plots hold the data that they claim: read back from the artists of the figures."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from ltbench.results import diagnostics
from ltbench.results.across_tables import Ranks
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from ltbench.show import figures, style
from tests.made import COUNTS, made_failure, made_store

METHODS = {"ce": 1.0, "ldam(max_margin=0.3)": 1.5, "crt": 2.0, "<b>": 0.5, "$a_b$": 3.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = made_store(tmp_path_factory.mktemp("plots") / "results", METHODS)
    made_failure(store, "broken")
    return store


@pytest.fixture(scope="module")
def cells(store: Store) -> pd.DataFrame:
    return load_results(store.root)


@pytest.fixture(scope="module")
def board(cells: pd.DataFrame) -> pd.DataFrame:
    return leaderboard(cells)


def points(figure: Figure, axes: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """The data of every line or point that stands for a method."""
    lines = [line for line in figure.axes[axes].lines if (line.get_gid() or "").startswith("method:")]
    return {line.get_gid().removeprefix("method:"): (list(line.get_xdata()), list(line.get_ydata())) for line in lines}


def labels(figure: Figure, axes: int = 0) -> list[str]:
    return [label.get_text() for label in figure.axes[axes].get_yticklabels()]


def test_the_accuracies_and_intervals(board: pd.DataFrame) -> None:
    figure = figures.accuracy(board)
    found = points(figure)
    bars = figure.axes[0].collections
    assert labels(figure) == [*board.method[:-1], "broken"]
    for y, row in enumerate(board[board.seeds > 0].itertuples()):
        assert found[row.method] == ([row.balanced_accuracy], [y])
        low, high = bars[y].get_segments()[0][:, 0]
        assert (high - low) / 2 == pytest.approx(row.interval)
    assert [text.get_text() for text in figure.axes[0].texts] == ["failed"]


def test_a_single_seed_is_hollow(tmp_path) -> None:
    board = leaderboard(load_results(made_store(tmp_path, {"ce": 1}, seeds=1).root))
    (line,) = figures.accuracy(board).axes[0].lines
    assert line.get_markerfacecolor() == "none"


def test_the_shot_bars_are_the_boards_groups(board: pd.DataFrame) -> None:
    figure = figures.shot_bars(board)
    done = board[board.seeds > 0]
    for axes, group in zip(figure.axes, ("many", "medium", "few"), strict=True):
        assert [bar.get_width() for bar in axes.patches] == done[group].tolist()
        assert [text.get_text() for text in axes.texts] == [f"{value:.1f}" for value in done[group]]
    colours = [to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert colours == [style.colour(row) for row in done.itertuples()]
    assert style.BEST in colours


@pytest.mark.parametrize(
    ("draw", "x", "y"),
    [(figures.head_tail, "many", "few"), (figures.cost, "train_seconds", "balanced_accuracy")],
)
def test_scatter_plots_hold_and_name_every_method(board: pd.DataFrame, draw, x: str, y: str) -> None:
    figure = draw(board)
    done = board[board.seeds > 0]
    assert points(figure) == {row.method: ([getattr(row, x)], [getattr(row, y)]) for row in done.itertuples()}
    assert {text.get_text() for text in figure.axes[0].texts} == set(done.method)


def test_names_of_points_hide_no_point_and_no_other_name(board: pd.DataFrame) -> None:
    generator = np.random.default_rng(0)
    many = pd.concat([board.head(1)] * 30, ignore_index=True)
    many = many.assign(method=[f"method_number_{i}" for i in range(30)], few=generator.normal(50, 9, 30), many=99.0)
    figure = figures.head_tail(many)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 30
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    at = figure.axes[0].transData.transform(many[["many", "few"]])
    assert not any(box.contains(*point) for box in boxes for point in at)


def test_the_front_joins_what_nothing_cheaper_beats(board: pd.DataFrame) -> None:
    seconds, accuracy = [1.0, 2.0, 3.0, 4.0], [50.0, 45.0, 60.0, 60.0]
    chosen = board.head(4).assign(train_seconds=seconds, balanced_accuracy=accuracy)
    (front,) = [line for line in figures.cost(chosen).axes[0].lines if line.get_label() == "front"]
    assert (list(front.get_xdata()), list(front.get_ydata())) == ([1, 3], [50, 60])


def test_lines_of_accuracy_against_class_size(store: Store, cells: pd.DataFrame, board: pd.DataFrame) -> None:
    classes = diagnostics.per_class(cells, store.latest())
    found = points(figures.per_class(classes, board))
    assert set(found) == set(METHODS)
    for method, (x, y) in found.items():
        part = classes[classes.method == method].sort_values("images")
        assert (x, y) == (sorted(COUNTS), part.accuracy.tolist())


def test_many_classes_are_averaged_over_neighbours_in_size(board: pd.DataFrame) -> None:
    sizes = np.arange(1, 101)
    classes = pd.DataFrame({"method": "ce", "class": sizes, "images": sizes, "accuracy": sizes / 2})
    ((x, y),) = points(figures.per_class(classes, board)).values()
    assert len(x) == figures.SIZES
    assert (x[0], y[0]) == (2.5, 1.25)


def test_training_curves(store: Store, cells: pd.DataFrame, board: pd.DataFrame) -> None:
    epochs = diagnostics.curves(cells, store.latest())
    figure = figures.curves(epochs, board)
    for axes, column in enumerate(("loss", "balanced_accuracy")):
        for method, (x, y) in points(figure, axes).items():
            known = epochs[(epochs.method == method) & epochs[column].notna()]
            assert (x, y) == (known.epoch.tolist(), known[column].tolist())


def test_reliability_panels(store: Store, cells: pd.DataFrame, board: pd.DataFrame) -> None:
    bins, _ = diagnostics.reliability(cells, store)
    figure = figures.reliability(bins, board)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    for axes, row in zip(shown, board.itertuples(), strict=False):
        part = bins[bins.method == row.method]
        assert axes.patches[0].get_data().values.tolist() == part.accuracy.fillna(0).tolist()
        assert axes.get_title().replace("\n(", "(").split("\n") == [row.method, f"ECE {row.ece:.1f}"]
    assert len(shown) == len(METHODS)


def test_the_bias_of_each_method(store: Store, cells: pd.DataFrame) -> None:
    bias = diagnostics.best_on_test_bias(cells, store.latest())
    bias.loc[bias.method == "ce", ["bias", "evaluations"]] = [0.0, 1]
    figure = figures.best_on_test_bias(bias)
    means = bias.groupby("method").bias.mean()
    widths = dict(zip(labels(figure), [bar.get_width() for bar in figure.axes[0].patches], strict=True))
    assert widths == pytest.approx(means.to_dict())
    assert list(widths.values()) == sorted(widths.values(), reverse=True)
    assert sorted(figure.axes[0].lines[0].get_xdata()) == sorted(bias.bias)
    texts = dict(zip(labels(figure), [text.get_text() for text in figure.axes[0].texts], strict=True))
    assert texts["ce"] == "one evaluation: no choice"
    assert texts["crt"] == f"+{means['crt']:.1f}, best of 2 of 20"
    bias.loc[bias.method == "crt", "epochs"] = 2
    texts = dict(
        zip(labels(figure), [t.get_text() for t in figures.best_on_test_bias(bias).axes[0].texts], strict=True)
    )
    assert texts["crt"] == f"+{means['crt']:.1f}, best of all 2"


def made_ranks(ranks: dict[str, float], tied: list[tuple[str, ...]], difference: float = 1.2) -> Ranks:
    frame = pd.DataFrame({"average_rank": ranks})
    return Ranks(frame, 9, 6, excluded=(), friedman_p=0.003, critical_difference=difference, tied=tied)


def test_the_critical_difference_diagram() -> None:
    ranks = made_ranks({"a": 1.2, "b": 2.0, "c": 3.1, "d": 3.7}, [("a", "b"), ("b", "c", "d"), ("d",)])
    figure = figures.critical_difference(ranks)
    axes = figure.axes[0]
    texts = {text.get_text() for text in axes.texts}
    assert {"a  1.2", "b  2.0", "3.1  c", "3.7  d"} <= texts
    assert "critical difference 1.2 · 6 data sets · Friedman p = 0.003" in texts

    drops = [line for line in axes.lines if len(line.get_xdata()) == 3]
    unit = (drops[1].get_xdata()[0] - drops[0].get_xdata()[0]) / 0.8
    assert [line.get_xdata()[0] for line in drops[2:]] == pytest.approx(
        [drops[0].get_xdata()[0] + unit * r for r in (1.9, 2.5)]
    )
    bars = [line for line in axes.lines if to_hex(line.get_color()) == style.BEST]
    spans = [np.subtract(*reversed(line.get_xdata())) - 0.08 for line in bars]
    assert spans == pytest.approx([0.8 * unit, 1.7 * unit])
    (width,) = [np.subtract(*reversed(line.get_xdata())) for line in axes.lines if line.get_marker() == "|"]
    assert width == pytest.approx(1.2 * unit)


def test_a_critical_difference_wider_than_the_axis_is_said() -> None:
    figure = figures.critical_difference(made_ranks({"a": 1.0, "b": 2.0}, [("a", "b")], difference=44.0))
    assert any("44.0, wider than the axis" in text.get_text() for text in figure.axes[0].texts)


def made_study(method: str, expected: list[float]) -> SimpleNamespace:
    return SimpleNamespace(method=method, expected_best=lambda: expected)


def test_tuning_curves() -> None:
    studies = [made_study("ce", [60.0, 61.0]), made_study("crt", [58.0, 63.0, 64.0])]
    assert points(figures.expected_best(studies)) == {"ce": ([1, 2], [60, 61]), "crt": ([1, 2, 3], [58, 63, 64])}


def test_importances_largest_first() -> None:
    shares = {"ce": {"lr": 0.9, "weight_decay": 0.1}, "crt": {"lr": 0.2, "epochs": 0.5, "weight_decay": 0.3}}
    figure = figures.importances(shares)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["crt", "ce", ""]
    assert labels(figure) == ["epochs", "weight_decay", "lr"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.5, 0.3, 0.2]


def test_names_at_the_ends_of_lines_stay_apart_and_inside() -> None:
    figure = figures.expected_best([made_study(f"method_{i}", [50.0, 60 + i / 1000]) for i in range(4)])
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    assert boxes[-1].y1 <= figure.bbox.y1


def test_no_text_is_cut_off(board: pd.DataFrame, store: Store, cells: pd.DataFrame) -> None:
    long = board.assign(
        method=[f"a_rather_long_name_{i}(with_a_value=0.25, another=swapped)" for i in range(len(board))]
    )
    names = dict(zip(board.method, long.method, strict=True))
    records, cells = store.latest(), cells.assign(method=cells.method.map(names))
    bias = diagnostics.best_on_test_bias(cells, records)
    ranks = {name: i + 1.0 for i, name in enumerate(long.method)}
    drawn = [
        figures.accuracy(long),
        figures.shot_bars(long),
        figures.per_class(diagnostics.per_class(cells, records), long),
        figures.curves(diagnostics.curves(cells, records), long),
        figures.reliability(diagnostics.reliability(cells, store)[0], long),
        figures.best_on_test_bias(bias),
        figures.critical_difference(made_ranks(ranks, [])),
    ]
    for figure in drawn:
        figure.draw_without_rendering()
        inked, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert -0.02 <= inked.x0 and inked.x1 <= width + 0.02
        assert -0.02 <= inked.y0 and inked.y1 <= height + 0.02


def test_the_users_own_style_changes_nothing(board: pd.DataFrame) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        figure = figures.accuracy(board)
        assert mpl.rcParams["font.size"] == 30
    assert figure.axes[0].xaxis.label.get_size() == style.STYLE["font.size"]
