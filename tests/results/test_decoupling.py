"""Features x classifiers, derived from whatever a table has."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltbench.plan.cell import Link
from ltbench.results.decoupling import decoupling
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.record import JOINT
from ltbench.results.store import Store
from ltbench.show.tables import decoupling_grids, render
from tests.made import made_record


def made(root: str, *kinds: tuple[str, str], seeds: int = 3, skill: float = 1.0) -> pd.DataFrame:
    """The cells of these (features, classifier), the latter empty where the method is trained jointly."""
    store = Store(Path(root))
    for number, (features, classifier) in enumerate(kinds):
        for seed in range(seeds):
            links = [Link(method=name, source=name, hyperparameters={}) for name in (features, classifier) if name]
            after: dict[str, Any] = {"after": features} if classifier and features != "ce" else {}
            if classifier == "tau_norm" and after:
                after["double_correction"] = True
            changes = {"chain": links, "hyperparameters": after}
            made_record(store, classifier or features, seed=seed, skill=skill + number, **changes)
    return load_results(store)


def grid_of(cells: pd.DataFrame) -> pd.DataFrame:
    return decoupling(cells, leaderboard(cells))


WHOLE = [("ce", ""), ("ce", "crt"), ("ce", "tau_norm"), ("mixup", ""), ("mixup", "crt"), ("mixup", "tau_norm")]


def test_every_combination_is_a_cell_with_the_numbers_of_the_leaderboard() -> None:
    cells = made("results", *WHOLE)
    found, board = grid_of(cells), leaderboard(cells).set_index("method")
    assert {(row.features, row.classifier) for row in found.itertuples()} == {(f, c or JOINT) for f, c in WHOLE}
    assert (
        set(found.method) == set(board.index) >= {"crt(after=mixup)", "tau_norm(after=mixup, double_correction=true)"}
    )
    for row in found.itertuples():
        assert (row.balanced_accuracy, row.few) == tuple(board.loc[row.method, ["balanced_accuracy", "few"]])
        assert row.interval == board.loc[row.method, "interval"]


def test_a_classifier_is_compared_with_itself_on_the_features_of_ce() -> None:
    found = grid_of(made("results", *WHOLE)).set_index(["features", "classifier"])
    for classifier in (JOINT, "crt", "tau_norm"):
        means = found.balanced_accuracy
        expected = means["mixup", classifier] - means["ce", classifier]
        assert found.difference["mixup", classifier] == pytest.approx(expected)  # equally many seeds
        assert found.difference_interval["mixup", classifier] > 0
        assert np.isnan(found.difference["ce", classifier])


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ([("ce", ""), ("ce", "crt"), ("ce", "ncm"), ("mixup", "")], set()),  # one method's features
        ([("ce", ""), ("ce", "crt"), ("mixup", "crt_mixup"), ("mixup", "")], set()),  # no classifier on both
        ([("ce", "crt"), ("mixup", "crt"), ("ce", "ncm")], {("ce", "crt"), ("mixup", "crt")}),
        ([*WHOLE[:2], WHOLE[4], ("focal", "")], {("ce", JOINT), ("ce", "crt"), ("mixup", "crt")}),
    ],
)
def test_a_grid_needs_a_classifier_on_the_features_of_two_methods(
    kinds: list[tuple[str, str]], shown: set[tuple[str, str]]
) -> None:
    found = grid_of(made("results", *kinds))
    assert set(zip(found.features, found.classifier, strict=True)) == shown


def test_the_grids_are_printed_under_the_leaderboard_in_every_form() -> None:
    cells = made("results", *WHOLE)
    board, found = leaderboard(cells), grid_of(cells)
    accuracy, few, difference = decoupling_grids(found)
    assert accuracy.head == few.head == difference.head == ["features", JOINT, "crt", "tau_norm"]
    assert [row[0] for row in accuracy.rows] == ["mixup", "ce"]  # the best first
    assert [row[0] for row in difference.rows] == ["mixup"]
    crt = board.set_index("method").loc["crt"]
    assert accuracy.rows[1][2] == f"{crt.balanced_accuracy:.1f} ± {crt.interval:.1f}"
    assert few.rows[1][2] == f"{crt.few:.1f}"
    text = render(board, "markdown", "last", decoupled=found)
    assert f"| ce | {' | '.join(accuracy.rows[1][1:])} |" in text
    assert "Features x classifiers: " in text
    assert "Features x classifiers: " not in render(board, "markdown", "last")
    assert r"\begin{tabular}{lrrr}" in render(board, "latex", "last", decoupled=found)
    narrow = render(board, "table", "last", 60, decoupled=found)
    assert all(f"{number:.1f}" in narrow for number in found.balanced_accuracy)  # lines are broken, nothing is hidden


def test_one_seed_shows_no_differences() -> None:
    accuracy, few = decoupling_grids(grid_of(made("results", *WHOLE, seeds=1)))
    assert "†" in accuracy.rows[0][1]
    assert "†" not in few.rows[0][1]
