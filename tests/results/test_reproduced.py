"""Rows that were trained as published: a table of their own, with a verdict and without comparisons."""

import json
from pathlib import Path

import pandas as pd
import pytest

from ltbench.plan.cell import Link
from ltbench.plan.recipe import FAMILIES
from ltbench.results.across_tables import ranks_by_setting
from ltbench.results.classes import class_reports
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.record import StageLosses, now
from ltbench.results.store import Store
from ltbench.show.tables import render
from ltbench.tracking.leaderboard_runs import suite_experiments
from tests.made import chosen, evaluated, made_record

RECIPES = {
    "mine": FAMILIES["F2"].changed({"lr": 0.05, "epochs": 4, "backbone": "resnet8_cifar"}),
    "ce": FAMILIES["F1"],
}
MINE = """from ltbench import Method, Published, Range


class Mine(Method):
    strength = Range(1.0, 0.0, 2.0)
    published = (
        Published(dataset="digits", imbalance="100", accuracy=99.0, source="A", family="F2", grade="A",
                  settings={"network": "wider"}),
        Published(dataset="digits", imbalance="100", accuracy=70.0, source="B", family="F2", grade="B",
                  backbone="resnet8_cifar", epoch="best-on-test", subset_seed=0,
                  settings={"strength": 0.5, "recipe.lr": 0.05, "recipe.epochs": 4}),
    )
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    store = Store(tmp_path / "results")
    for seed, accuracy in enumerate((70.5, 71.0, 69.9)):
        for method, values in (("mine", {"strength": 0.5}), ("ce", {})):
            made_record(
                store,
                method,
                seed=seed,
                recipe="as published",
                trained_under=RECIPES[method].label,
                recipe_values=RECIPES[method].identity(),
                hyperparameters=values,
                chain=[Link(method, "source", values)],
                protocols={"last": chosen(accuracy - 1), "best-on-test": chosen(accuracy)},
                losses=[StageLosses(stage="train", loss=(1.0,) * 4)],
                evaluations=[evaluated("train", epoch, accuracy) for epoch in range(1, 5)],
            )
            made_record(store, method, seed=seed, skill=2.0)
    return store


def tables(store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows as published, and the others."""
    board = leaderboard(load_results(store))
    return board[board.recipe == "as published"], board[board.recipe != "as published"]


def test_each_row_has_its_recipe_and_the_verdict_on_the_accuracy_it_was_trained_for(store: Store) -> None:
    published, _ = tables(store)
    mine = published[published.method.str.startswith("mine")].iloc[0]
    assert (mine.published, mine.published_source) == (70.0, "B, grade B")  # the first that can be reproduced
    assert mine.verdict.startswith("+0.5 ± 1.")  # the best on test, as the source reports
    assert mine.verdict.endswith(", within")
    assert mine.trained_under == "F2[epochs=4,backbone=resnet8_cifar,lr=0.05]"
    ce = published[published.method == "ce"].iloc[0]
    assert pd.isna(ce.published)
    assert pd.isna(ce.verdict)


def test_what_differs_all_the_same_is_the_verdict(store: Store) -> None:
    for record in store.latest().values():
        if record.trained_under and record.method == "mine":
            store.add(record.model_copy(update={"created": now(), "subset_seed": 1}))
    published, _ = tables(store)
    assert "not comparable: other subset" in set(published.verdict)


def test_its_rows_are_neither_ranked_nor_compared(store: Store) -> None:
    published, others = tables(store)
    compared = ["rank", "difference_to_ce", "p_to_ce", "difference_to_best", "p_to_best", "relative_accuracy"]
    assert published[compared].isna().all().all()
    assert not published[["best", "tied"]].any().any()
    assert published.interval.notna().all()
    assert others[others.method == "mine"].difference_to_ce.notna().all()  # the other table is as always
    assert others.verdict.isna().all()
    assert all("as published" not in name for name in ranks_by_setting(load_results(store)))


def test_classes_have_no_gain_over_ce_there(store: Store) -> None:
    reports = class_reports(load_results(store), store.latest(), store)
    baselines = {report.place["recipe"]: report.baseline for report in reports["mine"] + reports["mine(strength=0.5)"]}
    assert baselines == {"digits": "ce", "as published": ""}


def test_the_table_says_what_it_shows(store: Store) -> None:
    text = render(leaderboard(load_results(store)), "markdown", "last")
    assert "**digits · imbalance 100 · as published**" in text
    assert "They are neither ranked nor compared with ce." in text
    assert "F2[epochs=4,backbone=resnet8_cifar,lr=0.05]: mine(strength=0.5)" in text
    assert "Published accuracies are from mine(strength=0.5): B, grade B." in text
    rows = json.loads(render(leaderboard(load_results(store)), "json", "last"))
    assert {row["published"] for row in rows} == {70.0, None}


def test_mlflow_has_verdict_and_recipe_in_words(store: Store) -> None:
    runs = [run for experiment in suite_experiments(store) for run in experiment.runs if run.kind == "summary"]
    (mine,) = [run for run in runs if run.name == "mine(strength=0.5)"]
    assert mine.params["trained_under"] == "F2[epochs=4,backbone=resnet8_cifar,lr=0.05]"
    assert mine.tags["verdict"].endswith("within")
    assert (mine.tags["standing"], mine.metrics["published"]) == ("not compared", 70.0)
