"""The classes of a method as text."""

import re
from pathlib import Path

import numpy as np
import pytest

from ltbench.errors import InputError
from ltbench.results.classes import ClassReport, class_reports
from ltbench.results.leaderboard import load_results
from ltbench.results.store import Store
from ltbench.show.classes import render_classes
from tests.made import EACH, made_record, record_of


@pytest.fixture
def report(tmp_path: Path) -> ClassReport:
    store = Store(tmp_path / "results")
    made_record(store, "ce", hits=[40, 30, 20, 10, 0], test_counts=[40] * 5)
    made_record(store, "crt", hits=[40, 20, 30, 10, 4], test_counts=[40] * 5)
    return class_reports(load_results(store.root), store.latest(), store)["crt"][0]


def test_a_row_has_the_name_the_group_the_numbers_and_the_gain(report: ClassReport) -> None:
    lines = render_classes([report], "markdown").splitlines()
    assert "| class | group | images | tested | recall | 95 % interval | gain over ce |" in lines
    assert "| 1 bee | medium | 90 | 40 | 50.0 | 35.0 to 65.0 | -25.0 |" in lines
    assert "| 4 elk | few | 5 | 40 | 10.0 | 3.5 to 22.0 | +10.0 |" in lines


@pytest.mark.parametrize("width", [45, 80, None])
def test_a_matrix_that_does_not_fit_is_hidden_and_refused(report: ClassReport, width: int | None) -> None:
    text = " ".join(re.sub(r"\x1b\[\d*m", "", render_classes([report], "table", width)).split())
    assert ("confusion matrix" in text.partition("Hidden")[0]) == (width != 45)
    assert ("Hidden in this narrow terminal: the confusion matrix" in text) == (width == 45)
    assert "…" not in render_classes([report], "table", 80, matrix=True)
    with pytest.raises(InputError, match="wider than the terminal; use --format csv"):
        render_classes([report], "table", 40, matrix=True)


def test_with_many_classes_the_matrix_is_shown_only_where_it_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    n = 30
    labels = np.repeat(np.arange(n), EACH)
    found = {"classes": list(map(str, range(n))), "class_counts": [9] * n, "test_counts": [EACH] * n, "hits": [4] * n}
    record = record_of("ce", **found)
    store.add(record_of("ce", **found, arrays=store.write_arrays(record.id, {"labels": labels, "predicted": labels})))
    reports = class_reports(load_results(store.root), store.latest(), store)["ce"]
    assert "predicted_0" not in render_classes(reports, "csv")
    assert "predicted_29" in render_classes(reports, "csv", matrix=True)
    assert "Hidden" not in render_classes(reports, "table")
