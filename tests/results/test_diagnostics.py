import numpy as np
import pandas as pd
import pytest
import torch

from ltbench.metrics import per_image, scores
from ltbench.results import diagnostics
from ltbench.results.leaderboard import load_results
from ltbench.results.record import Evaluation, StageLosses
from ltbench.results.store import Store
from tests.made import COUNTS, EACH, chosen, evaluated, made_failure, made_record, measured, record_of


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def of(store: Store) -> tuple[pd.DataFrame, dict]:
    return load_results(store.root), store.latest()


def test_per_class_is_the_mean_recall_over_seeds(store: Store) -> None:
    hits = [made_record(store, "ce", seed=seed).finished.hits for seed in range(3)]
    frame = diagnostics.per_class(*of(store))
    assert frame.images.tolist() == COUNTS
    assert np.allclose(frame.accuracy, 100 * np.mean(hits, axis=0) / EACH)


def test_a_class_without_test_images_is_excluded(store: Store) -> None:
    made_record(store, "ce", test_counts=[EACH, EACH, 0, EACH, EACH], hits=[1, 2, 0, 3, 4])
    assert diagnostics.per_class(*of(store))["class"].tolist() == [0, 1, 3, 4]


def test_curves_lay_the_stages_one_after_another(store: Store) -> None:
    stages = {"first": (3.0, 2.0), "second": (1.0,), "end": ()}
    evaluations = [evaluated("first", 2, 50.0), evaluated("second", 1, 60.0)]
    for seed, more in enumerate((0.0, 1.0)):
        losses = [StageLosses(stage=name, loss=[loss + more for loss in given]) for name, given in stages.items()]
        made_record(store, "ce", seed=seed, losses=losses, evaluations=evaluations)
    frame = diagnostics.curves(*of(store))
    assert frame.epoch.tolist() == [1, 2, 3]
    assert frame.loss.tolist() == [3.5, 2.5, 1.5]
    assert frame.balanced_accuracy.fillna(-1).tolist() == [-1, 50, 60]


def test_a_post_hoc_step_alone_is_at_epoch_0(store: Store) -> None:
    losses = [StageLosses(stage="post-hoc", loss=())]
    made_record(store, "tau_norm", losses=losses, evaluations=[evaluated("post-hoc", 0, 70.0)])
    frame = diagnostics.curves(*of(store))
    assert frame[["epoch", "balanced_accuracy"]].to_numpy().tolist() == [[0, 70]]


def test_a_post_hoc_step_counts_in_place_of_the_epoch_before(store: Store) -> None:
    losses = [StageLosses(stage="train", loss=(2.0, 1.0)), StageLosses(stage="post-hoc", loss=())]
    made_record(store, "ce", losses=losses, evaluations=[evaluated("train", 2, 60.0), evaluated("post-hoc", 0, 70.0)])
    frame = diagnostics.curves(*of(store))
    assert frame[["epoch", "loss"]].to_numpy().tolist() == [[1, 2], [2, 1]]
    assert frame.balanced_accuracy.fillna(-1).tolist() == [-1, 70]


def test_history_goes_on_over_the_stages_and_skips_missing_values() -> None:
    stages = {"one": (3.0, 2.0), "two": (1.0,), "post": ()}
    losses = [StageLosses(stage=name, loss=loss) for name, loss in stages.items()]
    both = Evaluation(stage="two", epoch=1, test=measured(5.0, few=None), val=measured(4.0))
    evaluations = [evaluated("one", 2, 1.0), both, evaluated("post", 0, 2.0)]
    found = diagnostics.history(record_of("ce", losses=losses, evaluations=evaluations).finished)
    assert [point for point in found if point[0].split("/")[1] in ("loss", "few", "balanced_accuracy")] == [
        ("train/loss", 3.0, 1),
        ("train/loss", 2.0, 2),
        ("test/balanced_accuracy", 1.0, 2),
        ("test/few", 1.0, 2),
        ("train/loss", 1.0, 3),
        ("val/balanced_accuracy", 4.0, 3),
        ("val/few", 1.0, 3),
        ("test/balanced_accuracy", 5.0, 3),
        ("test/balanced_accuracy", 2.0, 3),
        ("test/few", 1.0, 3),
    ]


def test_without_a_test_split_curves_are_of_the_validation_split(store: Store) -> None:
    evaluations = [Evaluation(stage="train", epoch=1, val=measured(40.0))]
    given = {"measured_on": "val", "protocols": {"last": chosen(40.0), "val": chosen(40.0)}}
    losses = [StageLosses(stage="train", loss=(1.0,))]
    made_record(store, "ce", losses=losses, evaluations=evaluations, **given)
    assert diagnostics.curves(*of(store)).balanced_accuracy.tolist() == [40]
    assert diagnostics.best_on_test_bias(*of(store)).empty


def test_the_bias_is_best_on_test_less_last_among_the_evaluations_of_the_last_stage(store: Store) -> None:
    made_record(store, "ce")
    made_record(
        store,
        "crt",
        protocols={"last": chosen(60.0, epoch=4), "best-on-test": chosen(63.5, epoch=2)},
        evaluations=[evaluated(stage, 1, 60.0) for stage in ("a", "b", "b", "b")],
        losses=[StageLosses(stage="a", loss=(1.0,)), StageLosses(stage="b", loss=(1.0,) * 4)],
    )
    bias = diagnostics.best_on_test_bias(*of(store)).set_index("method")
    assert bias.loc["crt", ["bias", "evaluations", "epochs"]].tolist() == [3.5, 3, 4]
    assert bias.loc["ce", "bias"] >= 0
    assert bias.loc["ce", "evaluations"] == 2


def test_the_bins_of_a_reliability_diagram_give_the_ece() -> None:
    generator = np.random.default_rng(0)
    logits, labels = 3 * generator.normal(size=(500, 7)), generator.integers(7, size=500)
    logits[0] = [800, 0, 0, 0, 0, 0, 0]  # confidence 1 without overflow
    bins = diagnostics.reliability_bins(logits, labels)
    images = per_image(torch.tensor(logits), torch.tensor(labels)).numpy()
    assert (bins.images.sum(), bins.weight.sum()) == (500, pytest.approx(1))
    ece = (bins.correct - bins.confidence).abs().sum()
    assert ece == pytest.approx(scores(images, labels, 7)["ece"], abs=1e-6)


def test_reliability_pools_the_seeds_and_names_what_it_cannot_read(store: Store) -> None:
    made = [made_record(store, "ce", seed=seed) for seed in range(3)]
    for record in made[:2]:
        store.arrays_path(record.id).unlink()
    frame, missing = diagnostics.reliability(load_results(store.root), store)
    assert missing == [record.id for record in made[:2]]
    arrays = store.arrays(made[2])
    alone = diagnostics.reliability_bins(arrays["logits"], arrays["labels"])
    known = alone.images > 0
    assert frame.images.tolist() == alone.images.tolist()
    assert np.allclose(frame.accuracy[known], (alone.correct / alone.weight)[known])
    assert frame.accuracy[~known].isna().all()


def test_failed_cells_are_in_no_finding(store: Store) -> None:
    made_record(store, "ce")
    made_failure(store, "ldam")
    cells, records = of(store)
    for frame in (diagnostics.per_class, diagnostics.curves, diagnostics.best_on_test_bias):
        assert set(frame(cells, records).method) == {"ce"}
