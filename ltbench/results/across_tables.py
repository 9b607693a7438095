"""Comparisons beyond one table: average ranks, spread over subsets, shifted test priors. Needs no torch."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, fdtrc

from ltbench.plan.cell import AS_PUBLISHED
from ltbench.results.leaderboard import BALANCED, TABLE
from ltbench.results.statistics import LEVEL, seed_interval, shifted_accuracy, tukey_critical
from ltbench.results.store import Store

SETTING = ["recipe", "holdout"]
"""Average ranks are over data sets x imbalances where these agree."""
FACTORS = (2, 5, 10, 25, 50)


@dataclass(frozen=True)
class Ranks:
    """How methods rank over several data sets.

    Attributes:
        frame: indexed by method, the best first: ``average_rank`` (1 is best; equal ones share their mean).
        tables: number of tables (data sets x imbalances).
        datasets: number of data sets, which are the independent blocks of the tests.
        excluded: methods without a result in one of the tables.
        friedman_p: p value of all methods being equal; NaN for fewer than two methods.
        critical_difference: smallest significant difference of two average ranks, at a family-wise 5 % over all pairs
            (Nemenyi).
        tied: largest groups of methods whose ranks differ by less, the best first.
    """

    frame: pd.DataFrame
    tables: int
    datasets: int
    excluded: tuple[str, ...]
    friedman_p: float
    critical_difference: float
    tied: list[tuple[str, ...]]

    @property
    def tells(self) -> bool:
        """Whether there are enough data sets for any difference of ranks to be significant."""
        return self.critical_difference < len(self.frame) - 1


def ranks_by_setting(cells: pd.DataFrame) -> dict[str, Ranks]:
    """``average_ranks`` under each setting of the cells, by its name; rows trained as published have no ranks."""
    found = {}
    cells = cells[~cells.recipe.str.startswith(AS_PUBLISHED)]
    for (recipe, holdout), part in cells.groupby(SETTING, sort=False):
        name = f"recipe {recipe}" + (f", {holdout} a class held out" if holdout else "")
        found[name] = average_ranks(part)
    return found


def average_ranks(cells: pd.DataFrame) -> Ranks:
    """Ranks of the methods by balanced accuracy, averaged over data sets (Demsar, JMLR 7, 2006).

    Accuracies are means over seeds and subset seeds. The imbalances of one data set are not independent, so the ranks
    of a data set are those of its average ranks over imbalances. Failed cells, balanced training sets, tables of a
    single method, and methods that one of the other tables lacks are excluded.

    Args:
        cells: from ``load_results``, under one setting (recipe, holdout).

    Raises:
        ValueError: for cells of several settings (see ``ranks_by_setting``).
    """
    if len(cells[SETTING].drop_duplicates()) > 1:
        raise ValueError(
            f"cells of several settings ({', '.join(SETTING)}) were given; rank the cells of each setting separately"
        )
    done = cells[(cells.status == "done") & ~cells.imbalance.isin(BALANCED)]
    means = done.pivot_table("balanced_accuracy", "method", TABLE)  # one column for each table
    means = means.loc[:, means.notna().sum() > 1]
    complete = means.dropna()
    excluded = tuple(means.index[means.isna().any(axis=1)])
    block = [name for name in TABLE if name != "subset_seed"]
    of_tables = complete.T.groupby(level=block).mean().rank(axis=1, ascending=False)  # [tables, methods]
    ranks = of_tables.groupby(level="dataset").mean().rank(axis=1)  # [data sets, methods]
    datasets, methods = ranks.shape
    frame = ranks.mean().sort_values(kind="stable").to_frame("average_rank")
    if methods < 2:
        return Ranks(frame, len(of_tables), datasets, excluded, math.nan, math.nan, [])
    difference = tukey_critical(methods) * math.sqrt(methods * (methods + 1) / 12 / datasets)
    p = friedman_p(ranks.to_numpy())
    return Ranks(frame, len(of_tables), datasets, excluded, p, difference, _groups(frame, difference))


def friedman_p(ranks: NDArray[np.float64]) -> float:
    """p value of Friedman's test from ranks [blocks, methods], corrected for equal ranks; 1 where all are equal."""
    blocks, methods = ranks.shape
    within = ((ranks - (methods + 1) / 2) ** 2).sum()
    between = blocks**2 * ((ranks.mean(axis=0) - (methods + 1) / 2) ** 2).sum()
    return float(chdtrc(methods - 1, (methods - 1) * between / within)) if within else 1.0


def _groups(frame: pd.DataFrame, difference: float) -> list[tuple[str, ...]]:
    """Runs of methods, in order of rank, that are no farther apart than ``difference``; none inside another."""
    ranks = frame.average_rank.to_numpy()
    ends = np.searchsorted(ranks, ranks + difference, side="right")
    starts = [i for i, end in enumerate(ends) if end - i > 1 and (i == 0 or end > ends[i - 1])]
    return [tuple(frame.index[i : ends[i]]) for i in starts]


def subset_spread(cells: pd.DataFrame) -> pd.DataFrame:
    """The spread of balanced accuracy over training seeds and over subset seeds.

    A random-effects analysis of variance for each method: subset seeds crossed with training seeds (which share the
    initial weights), on the training seeds that all its subsets have.

    Args:
        cells: from ``load_results``.

    Returns:
        One row for each method with several subset seeds: ``TABLE`` without the subset seed, ``method``,
        the numbers of ``subset_seeds`` and ``seeds``, mean ``balanced_accuracy``, and standard deviations in points:
        ``sd_seeds`` over training seeds on one subset, with its 95 % interval ``sd_seeds_low`` to ``sd_seeds_high``
        (Satterthwaite); ``sd_subsets`` of the effect of a subset on all training seeds alike (0 where training seeds
        explain the spread of the subsets' means), with ``p_subsets``, the p value of no such effect; and ``sd_both``
        of runs that draw both seeds. With one training seed only ``sd_both`` is known.
    """
    several = [name for name in TABLE if name != "subset_seed"]
    done = cells[cells.status == "done"]
    done = done[done.groupby([*several, "method"]).subset_seed.transform("nunique") > 1]
    rows = []
    for key, runs in done.groupby([*several, "method"]):
        scores = runs.pivot(index="subset_seed", columns="seed", values="balanced_accuracy").dropna(axis=1)
        if scores.shape[1]:
            rows.append(dict(zip([*several, "method"], key, strict=True)) | _spread(scores.to_numpy()))
    return pd.DataFrame(rows, columns=[*several, "method", *SPREAD])


SPREAD = ["subset_seeds", "seeds", "balanced_accuracy"]
SPREAD += ["sd_seeds", "sd_seeds_low", "sd_seeds_high", "sd_subsets", "p_subsets", "sd_both"]


def _spread(scores: NDArray[np.float64]) -> dict[str, float]:
    """The columns ``SPREAD`` from scores [subsets, seeds]."""
    subsets, seeds = scores.shape
    known = {"subset_seeds": subsets, "seeds": seeds, "balanced_accuracy": scores.mean()}
    if seeds == 1:
        return known | {"sd_both": scores.std(ddof=1)}
    of_subsets = seeds * scores.mean(axis=1).var(ddof=1)
    of_seeds = subsets * scores.mean(axis=0).var(ddof=1)
    freedom = (subsets - 1) * (seeds - 1)
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    rest = (residuals**2).sum() / freedom
    parts = np.array([of_seeds, (subsets - 1) * rest]) / subsets
    within = parts.sum()
    of_within = within**2 / (parts**2 / [seeds - 1, freedom]).sum() if within else np.nan
    low, high = of_within * within / chdtri(of_within, np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    between = max(0.0, (of_subsets - rest) / seeds)
    return known | {
        "sd_seeds": np.sqrt(within),
        "sd_seeds_low": np.sqrt(low),
        "sd_seeds_high": np.sqrt(high),
        "sd_subsets": np.sqrt(between),
        "p_subsets": fdtrc(subsets - 1, freedom, of_subsets / rest) if rest else np.nan,
        "sd_both": np.sqrt(within + between),
    }


def shifted_priors(store: Store, cells: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on a long-tailed test set, forward (in the order of the training set) or backward.

    The test-agnostic protocol (Hong et al., LADE, CVPR 2021; Zhang et al., SADE, NeurIPS 2022) without sampling: the
    class of size rank r in training has the share ``factor ** (-r / (C - 1))``, backward in reverse order. The recalls
    weighted by these shares are the exact expectation over such test sets. Nothing is trained.

    Args:
        store: with the records of the cells.
        cells: from ``load_results`` under protocol ``last``.

    Returns:
        One row a table x ``method`` x ``direction`` (``forward``, ``backward``) x ``factor`` (2, 5, 10, 25, 50):
        ``seeds``, mean ``accuracy`` over seeds in percent and ``interval``, half width of its 95 % interval (NaN for
        one seed).
    """
    keys = [*TABLE, "method"]
    latest = store.latest()
    tests = pd.MultiIndex.from_product([("forward", "backward"), FACTORS], names=["direction", "factor"])
    rows = []
    done = cells[cells.status == "done"]
    for cell in done.id:
        result = latest[cell].finished
        rank = np.argsort(np.argsort([-n for n in result.class_counts], kind="stable"))
        place = rank / max(1, len(rank) - 1)
        shares = [factor ** -(place if way == "forward" else 1 - place) for way, factor in tests]
        rows.append(shifted_accuracy(result.hits, result.test_counts, shares))
    of_cells = pd.DataFrame(rows, columns=tests, index=pd.MultiIndex.from_frame(done[keys]))
    found = of_cells.stack(tests.names, future_stack=True).groupby([*keys, *tests.names], sort=False)
    frame = found.agg(["size", "mean", "std"]).reset_index()
    frame = frame.rename(columns={"size": "seeds", "mean": "accuracy", "std": "interval"})
    return frame.assign(interval=seed_interval(frame.interval, frame.seeds))
