from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ltbench.results.across_tables import average_ranks, shifted_priors, subset_spread
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from tests.made import chosen, record_of

SIZES = [400, 50, 5]


def add(store: Store, method: str, hits: list[int], **given: Any) -> None:
    """A finished cell of three classes with 100 test images each."""
    accuracy = chosen(sum(hits) / 3)
    given = {"imbalance": "80", "dataset": "three", "recipe": "r"} | given
    counts = {"class_counts": SIZES, "test_counts": [100] * 3, "hits": hits}
    store.add(record_of(method, protocols={"last": accuracy, "val": accuracy}, **counts, **given))


@pytest.fixture
def store() -> Store:
    return Store("results")


def scored(scores: np.ndarray, **given: Any) -> pd.DataFrame:
    """Cells with balanced accuracies [data sets, methods], one seed."""
    store = Store("results")
    for table, row in enumerate(scores):
        for method, score in enumerate(row):
            add(store, f"m{method}", [int(score)] * 3, dataset=f"data {table}", **given)
    return load_results()


def test_average_ranks_agree_with_scipy() -> None:
    scores = np.random.default_rng(0).integers(40, 60, size=(6, 5)) + np.array([0, 3, 6, 9, 9])
    found = average_ranks(scored(scores))
    assert (found.tables, found.datasets, found.tells) == (6, 6, True)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    assert found.frame.average_rank.to_dict() == pytest.approx({f"m{m}": rank for m, rank in enumerate(ranks)})
    assert found.frame.average_rank.is_monotonic_increasing
    q = 2.728  # Demsar 2006, table 5a, five methods at 5 %
    assert found.critical_difference == pytest.approx(q * np.sqrt(5 * 6 / (6 * 6)), rel=1e-3)
    for group in found.tied:
        assert np.ptp(found.frame.average_rank[list(group)]) <= found.critical_difference
    apart = {(a, b) for a in ranks for b in ranks if abs(a - b) > found.critical_difference}
    assert bool(apart) == (found.tied != [tuple(found.frame.index)])


def test_groups_of_ranks_that_cannot_be_told_apart() -> None:
    found = average_ranks(scored(np.tile([90, 80, 70, 60, 50, 40], (10, 1))))
    assert found.critical_difference == pytest.approx(2.850 * np.sqrt(42 / 60), rel=1e-3)  # 2.38
    assert found.tied == [("m0", "m1", "m2"), ("m1", "m2", "m3"), ("m2", "m3", "m4"), ("m3", "m4", "m5")]
    assert found.friedman_p < 1e-6


def test_a_method_that_a_table_lacks_is_excluded_and_named(store: Store) -> None:
    for imbalance in ("100", "10"):
        for method, hits in (("a", 50), ("b", 40), ("c", 30)):
            if (method, imbalance) != ("b", "10"):
                add(store, method, [hits] * 3, imbalance=imbalance)
    add(store, "a", [50] * 3, imbalance="1")  # a balanced training set ranks nothing
    add(store, "a", [50] * 3, imbalance="5")  # nor does a method alone
    found = average_ranks(load_results())
    assert found.excluded == ("b",)
    assert found.tables == 2
    assert found.frame.average_rank.to_dict() == {"a": 1, "c": 2}


def test_imbalances_of_one_data_set_are_one_block(store: Store) -> None:
    for imbalance in ("100", "50", "10"):
        for method, hits in (("a", 50), ("b", 40 if imbalance == "10" else 60), ("c", 30)):
            add(store, method, [hits] * 3, imbalance=imbalance)
    found = average_ranks(load_results())
    assert (found.tables, found.datasets) == (3, 1)
    assert found.frame.average_rank.to_dict() == {"b": 1, "a": 2, "c": 3}  # b is before a twice of three times
    assert not found.tells
    assert found.critical_difference > 2


def test_subset_seeds_are_no_tables_of_their_own(store: Store) -> None:
    for subset_seed in (0, 1, 2):
        add(store, "a", [50 - 10 * subset_seed] * 3, subset_seed=subset_seed)
        add(store, "b", [45] * 3, subset_seed=subset_seed)
    found = average_ranks(load_results())
    assert found.tables == 1
    assert found.frame.index.to_list() == ["b", "a"]


def test_ranks_under_several_recipes_are_refused(store: Store) -> None:
    add(store, "a", [50] * 3)
    add(store, "a", [50] * 3, recipe="other")
    with pytest.raises(ValueError, match="several settings"):
        average_ranks(load_results())


def test_spread_is_taken_apart_as_drawn() -> None:
    generator = np.random.default_rng(0)
    cells = pd.DataFrame({"subset_seed": np.repeat(np.arange(60), 40), "seed": np.tile(np.arange(40), 60)})
    cells = cells.assign(dataset="d", fingerprint="f", imbalance="9", holdout=0, recipe="r", shots="auto")
    cells = cells.assign(method="m", status="done")
    of_subsets, of_seeds = generator.normal(0, 2, size=60), generator.normal(0, 0.6, size=40)
    noise = generator.normal(0, 0.8, size=2400)
    cells["balanced_accuracy"] = 60 + of_subsets[cells.subset_seed] + of_seeds[cells.seed] + noise
    (row,) = subset_spread(cells).itertuples()
    assert (row.subset_seeds, row.seeds) == (60, 40)
    assert row.sd_subsets == pytest.approx(2, rel=0.15)
    assert row.sd_seeds == pytest.approx(1, rel=0.1)  # hypot(0.6, 0.8)
    assert row.sd_seeds_low < 1 < row.sd_seeds_high < 1.3
    assert row.sd_both == pytest.approx(np.hypot(row.sd_seeds, row.sd_subsets))
    assert row.p_subsets < 1e-6


def test_no_spread_of_subsets_is_claimed_where_there_is_none() -> None:
    generator = np.random.default_rng(0)
    grid = pd.DataFrame({"subset_seed": np.repeat([0, 1, 2], 3), "seed": np.tile([0, 1, 2], 3)})
    grid = grid.assign(dataset="d", fingerprint="f", imbalance="9", holdout=0, recipe="r", shots="a", status="done")
    cells = pd.concat(grid.assign(method=f"m{m}") for m in range(400))
    of_seeds = np.repeat(generator.normal(size=(400, 1, 3)), 3, axis=1)
    cells["balanced_accuracy"] = (of_seeds + generator.normal(size=(400, 3, 3))).ravel()
    found = subset_spread(cells)
    assert (found.p_subsets < 0.05).mean() == pytest.approx(0.05, abs=0.033)
    assert (found.sd_seeds**2).mean() == pytest.approx(2, rel=0.1)
    inside = (found.sd_seeds_low**2 < 2) & (found.sd_seeds_high**2 > 2)
    print(f"{inside.mean():.1%} of the intervals hold the true deviation")
    assert inside.mean() > 0.9


def test_one_training_seed_cannot_be_told_from_its_subset(store: Store) -> None:
    for subset_seed, hits in enumerate((40, 50, 60)):
        add(store, "a", [hits] * 3, subset_seed=subset_seed)
    add(store, "b", [40] * 3)
    (row,) = subset_spread(load_results()).itertuples()
    assert (row.method, row.sd_both) == ("a", pytest.approx(10))
    assert np.isnan([row.sd_seeds, row.sd_subsets, row.p_subsets]).all()


def test_shifted_priors_favour_who_is_good_at_the_frequent_classes(store: Store) -> None:
    for seed in (0, 1):
        add(store, "head", [90, 60, 30 + seed], seed=seed)
        add(store, "tail", [50, 60, 70], seed=seed)
    found = shifted_priors(store, load_results()).set_index(["method", "direction", "factor"])
    assert len(found) == 2 * 2 * 5
    weights = np.array([1, 25**-0.5, 1 / 25])
    assert found.accuracy["head", "forward", 25] == pytest.approx(weights @ [90, 60, 30.5] / weights.sum())
    assert found.accuracy["head", "backward", 25] == pytest.approx(weights @ [30.5, 60, 90] / weights.sum())
    assert found.accuracy["tail", "backward", 50] > found.accuracy["tail", "backward", 2]
    assert found.interval["tail", "forward", 2] == pytest.approx(0, abs=1e-9)
    assert (found.seeds == 2).all()


# the leaderboard's own comparisons


def test_metrics_of_hits(store: Store) -> None:
    add(store, "ce", [90, 60, 0])
    cells = load_results()
    assert cells.worst_class.to_list() == [0]
    assert cells.harmonic_mean.to_list() == [pytest.approx(100 * 3 / (1 / 0.9 + 1 / 0.6 + 1000))]
    assert leaderboard(load_results(protocol="val")).worst_class.to_list() == [0]


def test_relative_accuracy_is_that_of_the_survey(store: Store) -> None:
    for method, long_tailed, balanced in (("ce", 40, 70), ("a", 50, 60), ("b", 60, 80), ("c", 60, None)):
        add(store, method, [long_tailed] * 3)
        if balanced:
            add(store, method, [balanced] * 3, imbalance="1")
    add(store, "a", [50] * 3, recipe="other")
    board = leaderboard(load_results())
    board = board[board.imbalance == "80"].set_index(["recipe", "method"]).relative_accuracy
    assert board["r"][["ce", "a", "b"]].to_list() == pytest.approx([100 * 40 / 70, 100 * 50 / 70, 100 * 60 / 80])
    assert np.isnan(board["r", "c"])
    assert np.isnan(board["other", "a"])


def test_a_tuned_method_is_compared_with_ce_tuned_as_long(store: Store) -> None:
    for seed, shift in enumerate((0, 4, 1)):
        for method, trials, hits in (("ce", 0, 40), ("a", 0, 60), ("ce", 9, 50), ("a", 9, 64), ("a", 5, 60)):
            add(store, method, [hits + shift] * 3, seed=seed, trials=trials)
    board = leaderboard(load_results()).set_index("method")
    assert board.difference_to_ce["a"] == pytest.approx(20)
    assert board.difference_to_ce["a (tuned 9)"] == pytest.approx(14)
    assert board.difference_to_ce[["ce", "ce (tuned 9)", "a (tuned 5)"]].isna().all()
    assert board.difference_to_best["ce"] == pytest.approx(-24)
    assert board["rank"].to_dict() == {"a (tuned 9)": 1, "a": 2, "a (tuned 5)": 2, "ce (tuned 9)": 4, "ce": 5}


def test_single_runs_are_not_compared(store: Store) -> None:
    add(store, "ce", [80, 60, 40])
    add(store, "a", [95, 95, 95])
    board = leaderboard(load_results())
    assert set(board.compared_over) == {"one seed"}
    assert board[["difference_to_ce", "p_to_ce", "difference_to_best", "p_to_best"]].isna().all(axis=None)
    assert not board.best.any()
    assert not board.tied.any()
    assert (board.interval > 1).all()
    assert set(board.interval_from) == {"images"}


def test_a_method_with_one_seed_leaves_the_others_compared(store: Store) -> None:
    for seed, ce in enumerate((40, 42, 41)):
        add(store, "ce", [ce] * 3, seed=seed)
        add(store, "a", [ce + 5 + seed % 2] * 3, seed=seed)
    before = leaderboard(load_results()).set_index("method")
    add(store, "late", [90] * 3, seed=1)
    after = leaderboard(load_results()).set_index("method")
    compared = ["difference_to_ce", "p_to_ce", "difference_to_best", "p_to_best", "interval", "best", "tied"]
    pd.testing.assert_frame_equal(after.loc[before.index, compared], before[compared])
    assert after.best["a"]
    assert (after.compared_over["late"], after.tied["late"]) == ("one seed", False)


def test_every_seed_of_every_method_counts(store: Store) -> None:
    for seed, ce in enumerate((40, 42, 41)):
        add(store, "ce", [ce] * 3, seed=seed)
        add(store, "a", [ce + 5 + seed % 2] * 3, seed=seed)
    complete = leaderboard(load_results()).set_index("method")
    assert complete.difference_to_ce["a"] == pytest.approx(16 / 3)
    add(store, "ce", [47] * 3, seed=3)
    board = leaderboard(load_results()).set_index("method")
    assert board.seeds.to_dict() == {"a": 3, "ce": 4}
    assert board.difference_to_ce["a"] < complete.difference_to_ce["a"] - 0.05
    assert board.p_to_best["ce"] > complete.p_to_best["ce"]
