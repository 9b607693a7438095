"""Recalls, gains and confusions of classes, against formulas written out."""

from math import inf, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ltbench.errors import InputError
from ltbench.results.classes import ClassReport, class_reports, confusion, jeffreys
from ltbench.results.leaderboard import load_results
from ltbench.results.store import Store
from tests.made import CLASSES, COUNTS, EACH, made_failure, made_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def reports(store: Store, method: str, **given) -> list[ClassReport]:
    return class_reports(load_results(store.root), store.latest(), store, **given)[method]


def test_the_recall_of_a_class_is_a_mean_over_seeds_with_a_t_interval(store: Store) -> None:
    hits = np.array([made_record(store, "crt", seed=seed, skill=2.0).finished.hits for seed in range(3)])
    (report,) = reports(store, "crt")
    frame = report.frame
    assert (frame.name.tolist(), frame.images.tolist()) == (CLASSES, COUNTS)
    assert frame.group.tolist() == ["many", "medium", "medium", "few", "few"]
    assert frame.test_images.tolist() == [EACH] * 5
    for row in frame.to_dict("records"):
        values = [100 * n / EACH for n in hits[:, row["class"]]]
        mean, deviation = sum(values) / 3, sqrt(sum((v - sum(values) / 3) ** 2 for v in values) / 2)
        assert deviation > 0, "choose other seeds: this class is the same in all"
        half = stats.t.ppf(0.975, 2) * deviation / sqrt(3)
        assert row["recall"] == pytest.approx(mean)
        assert (row["low"], row["high"]) == pytest.approx((max(mean - half, 0), min(mean + half, 100)))
    assert (report.baseline, report.seeds) == ("", 3)
    assert frame.gain.isna().all()


def test_one_seed_has_jeffreys_interval_of_the_test_images(store: Store) -> None:
    made_record(store, "crt", hits=[40, 30, 13, 1, 0], test_counts=[40] * 5)
    (report,) = reports(store, "crt")
    assert report.frame.recall.tolist() == [100.0, 75.0, 32.5, 2.5, 0.0]
    for label, hits in ((1, 30), (2, 13), (3, 1)):
        expected = [100 * stats.beta.ppf(q, hits + 0.5, 40 - hits + 0.5) for q in (0.025, 0.975)]
        assert report.frame.loc[label, ["low", "high"]].tolist() == pytest.approx(expected)
    assert report.frame.high[0] == 100
    assert report.frame.low[4] == 0
    assert 0 < report.frame.high[4] < 10


def test_seeds_that_all_agree_have_the_interval_of_the_test_images_too(store: Store) -> None:
    for seed in range(2):
        made_record(store, "ce", seed=seed, hits=[40, 30, 12 + seed, 5, 5], test_counts=[40] * 5)
        made_record(store, "crt", seed=seed, hits=[40, 31, 12, 5, 6], test_counts=[40] * 5)
    (report,) = reports(store, "crt")
    assert report.frame.low[0] == pytest.approx(100 * stats.beta.ppf(0.025, 40.5, 0.5))
    assert report.frame.gain.tolist() == pytest.approx([0, 2.5, -1.25, 0, 2.5])
    assert report.frame.gain_interval.isna().tolist() == [True, True, False, True, True]


def test_jeffreys_interval_covers_the_true_proportion() -> None:
    """The mean coverage over proportions is 95 % (Brown, Cai and DasGupta, 2001)."""
    n = 30
    low, high = jeffreys(np.arange(n + 1), np.full(n + 1, n))
    assert (low[0], high[n]) == (0, 1)
    proportions = np.linspace(0.01, 0.99, 99)
    inside = [stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum() for p in proportions]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)
    assert min(inside) > 0.88


def test_gains_are_over_ce_on_the_seeds_that_both_have(store: Store) -> None:
    ce = {seed: made_record(store, "ce", seed=seed).finished.hits for seed in (0, 1, 2)}
    crt = {seed: made_record(store, "crt", seed=seed, skill=2.0).finished.hits for seed in (1, 2, 3)}
    made_failure(store, "crt", seed=4)
    (report,) = reports(store, "crt")
    assert (report.baseline, report.seeds) == ("ce", 3)
    for label in range(5):
        gains = [100 * (crt[seed][label] - ce[seed][label]) / EACH for seed in (1, 2)]
        assert report.frame.gain[label] == pytest.approx(np.mean(gains))
        half = stats.t.ppf(0.975, 1) * np.std(gains, ddof=1) / sqrt(2)
        assert report.frame.gain_interval[label] == pytest.approx(half if half else np.nan, nan_ok=True)


def test_a_tuned_method_is_compared_with_ce_tuned_by_as_many_trials(store: Store) -> None:
    made_record(store, "ce")
    made_record(store, "ce", trials=5)
    made_record(store, "crt", trials=5)
    made_record(store, "ldam", trials=9)
    assert [report.baseline for report in reports(store, "crt (tuned 5)")] == ["ce (tuned 5)"]
    assert [report.baseline for report in reports(store, "ldam (tuned 9)")] == [""]


def test_confusion_is_the_share_of_the_true_class() -> None:
    labels, predicted = [0, 0, 0, 0, 1, 1, 3], [0, 1, 1, 2, 1, 0, 3]
    found = confusion(labels, predicted, 4)
    assert found[0].tolist() == [25, 50, 25, 0]
    assert found[1].tolist() == [50, 50, 0, 0]
    assert np.isnan(found[2]).all()
    assert found[3].tolist() == [0, 0, 0, 100]


def test_the_confusion_matrix_is_the_mean_over_seeds_and_agrees_with_the_recalls(store: Store) -> None:
    made = [made_record(store, "crt", seed=seed) for seed in range(2)]
    (report,) = reports(store, "crt")
    assert report.confusion is not None
    by_hand = np.zeros((5, 5))
    for record in made:
        arrays = store.arrays(record)
        for true, predicted in zip(arrays["labels"], arrays["predicted"], strict=True):
            by_hand[true, predicted] += 100 / EACH / 2
    assert np.allclose(report.confusion, by_hand)
    assert np.allclose(np.diag(report.confusion), report.frame.recall)
    assert np.allclose(report.confusion.sum(axis=1), 100)


def test_the_most_confused_pairs_are_the_largest_shares_off_the_diagonal() -> None:
    shares = np.array([[70.0, 30.0, 0.0], [5.0, 90.0, 5.0], [np.nan, np.nan, np.nan]])
    report = ClassReport({}, "crt", 1, "", pd.DataFrame(), shares, ())
    assert report.pairs(10).to_numpy().tolist() == [[0, 1, 30], [1, 0, 5], [1, 2, 5]]
    assert report.pairs(1).share.tolist() == [30]
    assert report.pairs(0).empty
    assert report.confusion[0, 0] == 70


def test_missing_predictions_are_named_and_damaged_ones_are_refused(store: Store) -> None:
    ids = [made_record(store, "crt", seed=seed).id for seed in range(2)]
    store.arrays_path(ids[0]).unlink()
    (report,) = reports(store, "crt")
    assert report.missing == (ids[0],)
    assert report.confusion is not None
    store.arrays_path(ids[1]).write_bytes(b"not an archive")
    with pytest.raises(InputError, match=f"{ids[1]}.npz are damaged"):
        reports(store, "crt")
    store.arrays_path(ids[1]).unlink()
    (report,) = reports(store, "crt")
    assert (report.confusion, report.missing) == (None, tuple(ids))
    assert report.pairs(5).empty
    assert report.frame.recall.between(0, 100).all()


def test_a_class_without_test_images_has_no_recall(store: Store) -> None:
    made_record(store, "crt", test_counts=[EACH, EACH, 0, EACH, EACH], hits=[1, 2, 0, 3, 4])
    (report,) = reports(store, "crt")
    assert report.frame.loc[2, ["recall", "low", "high"]].isna().all()
    assert report.frame.loc[1, ["low", "high"]].between(-inf, inf).all()


def test_tables_stand_in_the_order_of_the_leaderboard_and_methods_can_be_chosen(store: Store) -> None:
    for imbalance in ("20", "100"):
        made_record(store, "ce", imbalance)
        made_record(store, "crt", imbalance)
    assert [report.place["imbalance"] for report in reports(store, "crt")] == ["100", "20"]
    assert set(class_reports(load_results(store.root), store.latest(), store, ["ce"])) == {"ce"}


def test_methods_are_in_the_order_of_the_leaderboard_whatever_their_best_seed_is(store: Store) -> None:
    for method, hits in (("ce", (500, 900)), ("crt", (800, 800))):
        for seed, each in enumerate(hits):
            made_record(store, method, seed=seed, hits=[each] * 5)
    cells = load_results(store)
    assert list(class_reports(cells, store.latest(), store)) == ["crt", "ce"]
