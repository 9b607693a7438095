"""Published accuracies: which are compared with a result, and what the comparison says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ltbench.method.published import Published
from ltbench.method.registry import discover
from ltbench.plan.cell import Link
from ltbench.plan.recipe import Recipe
from ltbench.results import papers
from ltbench.results.diagnostics import against_papers
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.record import Record, StageLosses
from ltbench.results.store import Store
from tests.made import chosen, evaluated, made_failure, made_record, record_of

LDAM = Recipe(epochs=4)
"""The recipe of the made records: as long as the source's, so that every epoch can be evaluated in a test."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture(autouse=True)
def short_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(papers.FAMILIES, "F1", LDAM)


def in_paper(accuracy: float = 70.0, **changes) -> Published:
    known = {"dataset": "cifar10", "imbalance": "100", "source": "Cao19 table 2", "family": "F1", "grade": "A"}
    return Published(accuracy=accuracy, **known | {"epoch": "best-on-test", "subset_seed": 0} | changes)


def given(accuracy: float = 70.0, epochs: int = 4, **changes) -> dict:
    """Fields of a record under the settings of ``in_paper``, which evaluated every epoch."""
    return {
        "dataset": "cifar10",
        "recipe": "ldam",
        "recipe_values": LDAM.identity(),
        "chain": [Link("ce", "source", {"gamma": 1.0})],
        "protocols": {"last": chosen(accuracy - 1), "best-on-test": chosen(accuracy)},
        "losses": [StageLosses(stage="train", loss=(1.0,) * 4)],
        "evaluations": [evaluated("train", epoch, accuracy) for epoch in range(5 - epochs, 5)],
    } | changes


def compared(store: Store, *figures: Published) -> pd.DataFrame:
    cells = load_results(store.root)
    boards = {p: leaderboard(load_results(store.root, p)) for p in ("last", "best-on-test")}
    return against_papers(boards, cells, store.latest(), {"ce": figures})


def made(store: Store, accuracies: tuple[float, ...] = (70.5, 71.0, 69.9), **changes) -> None:
    for seed, accuracy in enumerate(accuracies):
        made_record(store, "ce", seed=seed, **given(accuracy, **changes))


# what may be compared


def recipe(**changes) -> dict:
    return {"recipe_values": LDAM.changed(changes).identity()}


@pytest.mark.parametrize(
    ("changes", "figure", "other"),
    [
        ({}, {}, []),
        ({"dataset": "cifar10 (imagefolder)"}, {}, ["images"]),
        ({"measured_on": "val"}, {}, ["images"]),
        ({"subset_seed": 1}, {}, ["subset"]),
        ({}, {"subset_seed": None}, ["subset"]),
        ({"holdout": 25}, {}, ["holdout"]),
        (recipe(epochs=8), {}, ["recipe (epochs, milestones, warmup_epochs)"]),
        (recipe(lr=0.2), {}, ["recipe (lr)"]),
        (recipe(lr=0.2), {"settings": {"recipe.lr": 0.2}}, []),
        ({}, {"settings": {"recipe.lr": 0.2}}, ["recipe (lr)"]),
        (recipe(weight_decay=5e-4), {}, ["recipe (weight_decay)"]),
        (recipe(jitter=0.4), {}, ["recipe (jitter)"]),
        (recipe(image_size=16), {}, ["recipe (image_size)"]),
        (recipe(precision="bf16"), {}, ["recipe (precision)"]),
        (recipe(precision="fp32-strict"), {}, []),
        (recipe(evaluate_every=1), {}, []),
        ({}, {"family": "F6"}, ["recipe (family)"]),
        ({}, {"family": "F2"}, ["recipe (epochs, nesterov, weight_decay)"]),
        ({}, {"settings": {"recipe.classifier_init": "ldam"}}, ["recipe (classifier_init)"]),
        (recipe(classifier_init="ldam"), {}, ["recipe (classifier_init)"]),
        (recipe(classifier_init="ldam"), {"settings": {"recipe.classifier_init": "ldam"}}, []),
        (recipe(backbone="resnet34"), {}, ["backbone"]),
        (
            {"hyperparameters": {"gamma": 2.0}, "chain": [Link("ce", "s", {"gamma": 2.0})]},
            {},
            ["hyper-parameters (gamma)"],
        ),
        ({"chain": [Link("ce", "s", {"gamma": 2.0})]}, {"settings": {"gamma": 2.0}}, []),
        ({}, {"settings": {"gamma": 2.0}}, ["hyper-parameters (gamma)"]),
        ({"hyperparameters": {"after": "mixup"}}, {}, ["features"]),
        ({"trials": 10}, {}, ["tuning"]),
        ({}, {"settings": {"sampler": "effective number"}}, ["sampler"]),
        ({}, {"epoch": None}, ["epoch"]),
        ({}, {"epoch": "last"}, []),
    ],
)
def test_what_differs_from_the_source_is_named(changes: dict, figure: dict, other: list[str]) -> None:
    assert papers.differences(record_of("ce", **given(**changes)), in_paper(**figure)) == other


def test_the_best_epoch_on_test_is_comparable_only_among_all_epochs() -> None:
    some, figure = record_of("ce", **given(epochs=3)), in_paper()
    assert papers.differences(some, figure) == ["epoch"]
    assert papers.differences(some, in_paper(epoch="last")) == []
    assert papers.differences(record_of("ce", **given()), figure) == []


def test_the_leaderboard_shows_a_published_accuracy_under_the_epoch_of_its_source_only(store: Store) -> None:
    record = record_of("ce", **given())
    assert papers.comparable(record, "best-on-test", [in_paper(epoch="last"), in_paper(71.0)]) == in_paper(71.0)
    assert papers.comparable(record, "last", [in_paper()]) is None
    assert papers.comparable(record, "best-on-test", [in_paper(imbalance="10"), in_paper(dataset="cifar100")]) is None
    made(store)
    assert load_results(store.root, "best-on-test").paper.isna().all()  # Cao et al. initialise classifiers differently
    made(store, **recipe(classifier_init="ldam"))
    assert load_results(store.root).paper.isna().all()
    found = load_results(store.root, "best-on-test")
    assert set(found.paper) == {70.36}
    assert set(found.paper_source) == {"Cao19 table 2, grade A"}


# what the comparison says


@pytest.mark.parametrize(
    ("difference", "verdict"), [(2.4, "within"), (-2.4, "within"), (2.6, "above"), (-2.6, "below"), (1.5, "within")]
)
def test_within_is_the_margin_between_authors_plus_our_half_width(difference: float, verdict: str) -> None:
    assert papers.MARGIN == 1.5
    assert papers.verdict(difference, 1.0, 3) == verdict
    assert papers.verdict(difference, 1.0, 1) == "one seed: distance only"


@pytest.mark.parametrize(("published", "verdict"), [(70.0, "within"), (65.0, "above"), (75.0, "below")])
def test_the_accuracy_under_the_protocol_of_the_source_is_compared(
    store: Store, published: float, verdict: str
) -> None:
    made(store)
    (best,) = compared(store, in_paper(published)).to_dict("records")
    assert best["verdict"] == verdict
    assert best["difference"] == pytest.approx(np.mean((70.5, 71.0, 69.9)) - published)
    assert best["best_on_test"] == pytest.approx(np.mean((70.5, 71.0, 69.9)))
    (last,) = compared(store, in_paper(published, epoch="last")).to_dict("records")
    assert last["difference"] == pytest.approx(best["difference"] - 1)


def test_one_seed_has_a_distance_and_no_verdict(store: Store) -> None:
    made(store, (72.0,))
    (row,) = compared(store, in_paper()).to_dict("records")
    assert (row["difference"], row["verdict"]) == (pytest.approx(2.0), "one seed: distance only")


def test_what_differs_has_no_difference(store: Store) -> None:
    made(store, holdout=25, subset_seed=2)
    (row,) = compared(store, in_paper()).to_dict("records")
    assert row["verdict"] == "not comparable: other subset, holdout"
    assert np.isnan(row["difference"])


def test_figures_of_other_data_sets_and_imbalances_and_failed_cells_do_not_show(store: Store) -> None:
    made(store)
    made_failure(store, "ldam")
    assert compared(store, in_paper(dataset="cifar100"), in_paper(imbalance="10")).empty
    assert set(compared(store, in_paper()).method) == {"ce"}


# where they are read


def test_they_are_read_without_loading_the_methods() -> None:
    found = papers.published()
    assert {name: tuple(entry.method.published) for name, entry in discover().items()} == found


def test_a_method_of_ones_own_may_have_published_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    Path("methods").mkdir()
    of = 'Published(dataset="cifar10", imbalance="100", accuracy={}, source="x", family="F1", grade="A")'
    Path("methods/mine.py").write_text(f"import nothing\n\nclass Mine(Method):\n    published = ({of.format(70.5)},)\n")
    Path("methods/other.py").write_text(f"class Other(Method):\n    published = ({of.format('BEST')},)\n")
    Path("methods/broken.py").write_text("published (")
    found = papers.published()
    assert [figure.accuracy for figure in found["mine"]] == [70.5]
    assert found["other"] == found["broken"] == ()
    err = capsys.readouterr().err
    assert "other.py are not shown: " in err
    assert "write Published(...) or Published.table(...) with literal values" in err


def test_reading_them_runs_no_code(capsys: pytest.CaptureFixture[str]) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text("class Mine(Method):\n    published = open('ran', 'w')\n")
    assert papers.published()["mine"] == ()
    assert "mine.py are not shown: line 2: write Published(...)" in capsys.readouterr().err
    assert not Path("ran").exists()


def test_a_record_of_another_version_of_the_recipe_is_not_compared() -> None:
    values = {name: value for name, value in LDAM.identity().items() if name != "lr"}
    record: Record = record_of("ce", **given(recipe_values=values))
    assert papers.differences(record, in_paper()) == ["recipe (lr)"]
