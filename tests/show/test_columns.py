"""One list of columns is behind every output."""

import re
from pathlib import Path

import pandas as pd
import pytest

from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from ltbench.show import columns
from ltbench.show.columns import COLUMNS, Column, best_two, columns_of, dropping_order, rows_of
from ltbench.show.page import write_report
from ltbench.show.tables import comparison_note, footnotes, render
from ltbench.tracking.leaderboard_runs import suite_experiments
from tests.made import made_failure, made_record, made_store

PRINTED = [column for column in COLUMNS if not column.page_only]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = made_store(tmp_path_factory.mktemp("columns") / "results", {"ce": 1.0, "crt": 2.0})
    made_failure(store, "broken")
    return store


@pytest.fixture(scope="module")
def board(store: Store) -> pd.DataFrame:
    return leaderboard(load_results(store))


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Column:
    """A further column, as a single entry of the list."""
    about = "test accuracy in %"
    column = Column(key="accuracy", heading="new", about=about, format=lambda row: "NEW", dropped=0, footnote=True)
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, column))
    return column


def test_every_column_is_in_the_frame_once_with_a_heading_and_a_definition(board: pd.DataFrame) -> None:
    assert {column.key for column in COLUMNS} <= set(board)
    for field in ("key", "heading", "about"):
        values = [getattr(column, field) for column in COLUMNS]
        assert len(set(values)) == len(values)
        assert all(values)


def test_a_new_column_is_one_entry_for_all_outputs(store: Store, board: pd.DataFrame, added: Column) -> None:
    for form in ("table", "markdown", "latex"):
        text = render(board, form, "last", columns=("new",) if form == "latex" else None)
        assert text.count("NEW") == 2
        assert "new: test accuracy in %." in text
    page = Path("page.html")
    write_report(store.root, page)
    assert page.read_text().count(">NEW</td>") == 2
    assert 'title="test accuracy in %"' in page.read_text()
    (experiment,) = suite_experiments(store)
    assert "metrics.test/accuracy" in experiment.views["leaderboard"].columns
    assert "NEW" not in render(board, "table", "last", 100)


def test_the_headings_are_the_same_in_every_output(board: pd.DataFrame) -> None:
    headings = ["", "method", *(column.heading for column in columns_of(board))]
    names = [column.key for column in columns_of(board)]
    markdown, latex = render(board, "markdown", "last"), render(board, "latex", "last", columns=names)
    assert f"| {' | '.join(headings)} |" in markdown
    assert f"{' & '.join(headings[1:])} \\\\" in latex
    assert set(headings) < {"", "method", *(column.heading for column in PRINTED)}  # no paper, no relative accuracy


def test_a_column_without_values_is_absent_only_where_that_is_said(board: pd.DataFrame) -> None:
    empty = board.assign(**{column.key: float("nan") for column in COLUMNS if column.key != "seeds"})
    assert columns_of(empty, page=True) == [column for column in COLUMNS if not column.absent_if_empty]


def test_missing_values_and_failures_have_texts(board: pd.DataFrame) -> None:
    ce, failed = (next(row for row in rows_of(board) if row["method"] == name) for name in ("ce", "broken"))
    texts = {column.key: column.text(ce) for column in COLUMNS}
    assert texts["difference_to_ce"] == texts["paper"] == "–"
    texts = {column.key: column.text(failed) for column in COLUMNS}
    assert (texts.pop("balanced_accuracy"), texts.pop("seeds")) == ("failed", "0 of 1")
    assert set(texts.values()) == {""}


def test_a_narrow_terminal_drops_columns_in_their_order(board: pd.DataFrame) -> None:
    order = [heading for heading in dropping_order() if heading in {column.heading for column in columns_of(board)}]
    for width in (140, 110, 90, 70, 60):
        text = re.sub(r"\x1b\[\d+m", "", render(board, "table", "last", width))
        note = " ".join(text.split()).partition("Hidden in this narrow terminal: ")[2].partition(". See")[0]
        hidden = note.split(", ") if note else []
        assert hidden == order[: len(hidden)]
    assert len(hidden) > 5


def test_footnotes_define_the_columns_of_the_table(board: pd.DataFrame) -> None:
    text = footnotes(board, "last")[0]
    for column in COLUMNS:
        assert (f"{column.heading}: {column.about}." in text) == (column.footnote and column in columns_of(board))


def test_the_notes_say_what_is_compared_and_how_firmly(tmp_path: Path) -> None:
    store = made_store(tmp_path, {"ce": 1.0, "crt": 2.0}, seeds=5)
    note = comparison_note(leaderboard(load_results(store)))
    assert "at most 5 % are expected to be false" in note
    assert "PROVISIONAL" not in note + comparison_note(leaderboard(load_results(store))[:0])
    made_record(store, "late", "100", 0, 3.0)
    note = comparison_note(leaderboard(load_results(store)))
    assert "One seed: not compared" in note
    assert "PROVISIONAL" not in note
    few = leaderboard(load_results(made_store(tmp_path / "few", {"ce": 1.0, "crt": 2.0}, seeds=4)))
    assert "PROVISIONAL: fewer than 5 seeds." in comparison_note(few)
    one = leaderboard(load_results(made_store(tmp_path / "one", {"ce": 1.0, "crt": 2.0}, seeds=1)))
    assert comparison_note(one).startswith("One seed: not compared")
    text = render(one, "markdown", "last")
    assert "★" not in text
    assert "vs ce" not in text
    assert "†" in text


def test_latex_has_the_columns_of_a_paper_the_best_in_bold_and_the_second_underlined() -> None:
    board = leaderboard(load_results(made_store(Path("paper"), {"ce": 1.0, "crt": 2.0, "tau_norm": 1.5})))
    latex = render(board, "latex", "last")
    assert r"method & bal. accuracy & many & medium & few \\" in latex
    rows = {row.method: row for row in board.itertuples()}
    value = rows["crt"].balanced_accuracy
    assert rf"crt & \textbf{{{value:.1f}}} $\pm$ {rows['crt'].interval:.1f} & " in latex
    assert rf"tau\_norm & \underline{{{rows['tau_norm'].balanced_accuracy:.1f}}} $\pm$" in latex
    assert latex.count(r"\textbf{") == latex.count(r"\underline{") == 4
    low = render(board, "latex", "last", columns=("nll", "train_seconds"))
    best = min(rows.values(), key=lambda row: row.nll)
    assert rf"\textbf{{{best.nll:.2f}}}" in low
    assert low.count(r"\textbf{") == 1  # no time is marked
    assert r"\usepackage{booktabs}" in latex
    assert "★" not in latex


def test_equal_texts_are_marked_alike_and_failures_are_not(board: pd.DataFrame) -> None:
    few = next(column for column in COLUMNS if column.key == "few")
    rows = [{"few": value, "seeds": 3} for value in (50.04, 49.96, 40.0, float("nan"))] + [{"few": 99.0, "seeds": 0}]
    assert best_two(few, rows) == {"50.0": "best", "40.0": "second"}
