import numpy as np
import pandas as pd
import pytest
import torch

from ltbench.method.contract import Figure
from ltbench.metrics import per_image, scores
from ltbench.results import diagnostics
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from tests.made import COUNTS, EACH, made_failure, made_record


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def of(store: Store) -> tuple[pd.DataFrame, dict]:
    return load_results(store.root), store.latest()


def test_per_class_is_the_mean_recall_over_seeds(store: Store) -> None:
    hits = [made_record(store, "ce", seed=seed)["hits"] for seed in range(3)]
    frame = diagnostics.per_class(*of(store))
    assert frame.images.tolist() == COUNTS
    assert np.allclose(frame.accuracy, 100 * np.mean(hits, axis=0) / EACH)


def test_a_class_without_test_images_is_left_out(store: Store) -> None:
    made_record(store, "ce", test_counts=[EACH, EACH, 0, EACH, EACH], hits=[1, 2, 0, 3, 4])
    assert diagnostics.per_class(*of(store))["class"].tolist() == [0, 1, 3, 4]


def test_curves_lay_the_stages_one_after_another(store: Store) -> None:
    stages = [{"stage": "first", "loss": [3.0, 2.0]}, {"stage": "second", "loss": [1.0]}, {"stage": "end", "loss": []}]
    tested = [("first", 2, 50.0), ("second", 1, 60.0)]
    evaluations = [{"stage": s, "epoch": e, "test": {"balanced_accuracy": a}} for s, e, a in tested]
    for seed, more in enumerate((0.0, 1.0)):
        losses = [s | {"loss": [loss + more for loss in s["loss"]]} for s in stages]
        made_record(store, "ce", seed=seed, losses=losses, evaluations=evaluations)
    frame = diagnostics.curves(*of(store))
    assert frame.epoch.tolist() == [1, 2, 3]
    assert frame.loss.tolist() == [3.5, 2.5, 1.5]
    assert frame.balanced_accuracy.fillna(-1).tolist() == [-1, 50, 60]


def test_a_post_hoc_step_is_at_epoch_0(store: Store) -> None:
    evaluations = [{"stage": "post-hoc", "epoch": 0, "test": {"balanced_accuracy": 70.0}}]
    made_record(store, "tau_norm", losses=[{"stage": "post-hoc", "loss": []}], evaluations=evaluations)
    frame = diagnostics.curves(*of(store))
    assert frame[["epoch", "balanced_accuracy"]].to_numpy().tolist() == [[0, 70]]


def test_the_bias_is_best_on_test_less_last_among_the_evaluations_of_the_last_stage(store: Store) -> None:
    values = {"last": {"epoch": 4, "balanced_accuracy": 60.0}, "best-on-test": {"epoch": 2, "balanced_accuracy": 63.5}}
    whole = made_record(store, "ce")["protocols"]["last"]
    stages = ("a", "b", "b", "b")
    made_record(
        store,
        "crt",
        protocols={name: whole | value for name, value in values.items()},
        evaluations=[{"stage": s, "epoch": 1, "test": whole} for s in stages],
    )
    bias = diagnostics.best_on_test_bias(*of(store)).set_index("method")
    assert bias.loc["crt", ["bias", "evaluations"]].tolist() == [3.5, 3]
    assert bias.loc["ce", "bias"] >= 0
    assert bias.loc["ce", "evaluations"] == 2


def test_the_bins_of_a_reliability_diagram_give_the_ece() -> None:
    generator = np.random.default_rng(0)
    logits, labels = 3 * generator.normal(size=(500, 7)), generator.integers(7, size=500)
    logits[0] = [800, 0, 0, 0, 0, 0, 0]  # confidence 1 without overflow
    bins = diagnostics.reliability_bins(logits, labels)
    images = per_image(torch.tensor(logits), torch.tensor(labels)).numpy()
    assert bins.images.sum() == 500
    ece = (bins.correct - bins.confidence).abs().sum() / 500
    assert ece == pytest.approx(scores(images, labels, 7)["ece"], abs=1e-6)


def test_reliability_pools_the_seeds_and_names_what_it_cannot_read(store: Store) -> None:
    ids = [made_record(store, "ce", seed=seed)["id"] for seed in range(3)]
    (store.root / "arrays" / f"{ids[0]}.npz").unlink()
    (store.root / "arrays" / f"{ids[1]}.npz").write_bytes(b"not an archive")
    frame, missing = diagnostics.reliability(load_results(store.root), store)
    assert missing == ids[:2]
    alone = diagnostics.reliability_bins(*store.arrays(ids[2]).values())
    known = alone.images > 0
    assert frame.images.tolist() == alone.images.tolist()
    assert np.allclose(frame.accuracy[known], (alone.correct / alone.images)[known])
    assert frame.accuracy[~known].isna().all()


F1 = Figure("cifar10", "100", 70.0, "Cao19 table 2", "F1", "A")


def papers(store: Store, *figures: Figure) -> pd.DataFrame:
    cells, records = of(store)
    return diagnostics.against_papers(leaderboard(cells), cells, records, {"ce": figures})


def made_cifar(store: Store, accuracies: tuple[float, ...] = (70.5, 71.0, 69.9), **changes) -> None:
    for seed, accuracy in enumerate(accuracies):
        last = made_record(Store(store.root / "scratch"), "ce", seed=seed)["protocols"]["last"]
        best = last | {"balanced_accuracy": accuracy + 1}
        last |= {"balanced_accuracy": accuracy}
        values = {"dataset": "cifar10", "recipe": "ldam", "settings": {"recipe": {"backbone": "resnet32_cifar"}}}
        made_record(store, "ce", seed=seed, **(values | {"protocols": {"last": last, "best-on-test": best}} | changes))


@pytest.mark.parametrize(("published", "verdict"), [(70.0, "within"), (65.0, "above"), (75.0, "below")])
def test_the_verdict_is_whether_the_papers_figure_lies_in_our_interval(
    store: Store, published: float, verdict: str
) -> None:
    made_cifar(store)
    (row,) = papers(store, Figure("cifar10", "100", published, "x", "F1", "A")).to_dict("records")
    assert row["verdict"] == verdict
    assert row["difference"] == pytest.approx(np.mean((70.5, 71.0, 69.9)) - published)
    assert row["best_on_test"] == pytest.approx(np.mean((70.5, 71.0, 69.9)) + 1)


@pytest.mark.parametrize(
    ("changes", "figure", "other"),
    [
        ({"dataset": "cifar10 (imagefolder)"}, F1, "images"),
        ({"holdout": 25}, F1, "images"),
        ({"recipe": "ldam[epochs=20]"}, F1, "recipe"),
        ({}, Figure("cifar10", "100", 70.0, "x", "F2", "A"), "recipe"),
        ({}, Figure("cifar10", "100", 70.0, "x", "F1", "A", "resnet34"), "backbone"),
        ({"hyperparameters": {"gamma": 2.0}}, F1, "hyper-parameters"),
        ({"trials": 10}, F1, "hyper-parameters"),
        ({"recipe": "digits"}, Figure("cifar10", "100", 1.0, "x", "F5", "A", "resnet34"), "recipe, backbone"),
    ],
)
def test_what_differs_is_never_compared(store: Store, changes: dict, figure: Figure, other: str) -> None:
    made_cifar(store, **changes)
    (row,) = papers(store, figure).to_dict("records")
    assert row["verdict"] == f"not comparable: other {other}"
    assert np.isnan(row["difference"])


def test_figures_of_other_data_sets_and_imbalances_do_not_show(store: Store) -> None:
    made_cifar(store)
    assert papers(store, Figure("cifar100", "100", 1, "x", "F1", "A"), Figure("cifar10", "10", 1, "x", "F1", "A")).empty


def test_where_the_methods_file_is_gone_its_records_tell_the_figure(store: Store) -> None:
    made_cifar(store, published=[70.36, "Cao19, table 2, grade A"])
    (row,) = papers(store).to_dict("records")
    assert (row["paper"], row["paper_source"], row["paper_grade"]) == (70.36, "Cao19, table 2", "A")
    assert row["verdict"] == "within"


def test_failed_cells_are_in_no_finding(store: Store) -> None:
    made_record(store, "ce")
    made_failure(store, "ldam")
    cells, records = of(store)
    for frame in (diagnostics.per_class, diagnostics.curves, diagnostics.best_on_test_bias):
        assert set(frame(cells, records).method) == {"ce"}
