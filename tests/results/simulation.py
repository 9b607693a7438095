"""Tables of made-up scores whose noise and whose true differences are known, and what the statistics claim of them.

The noise is normal unless it says otherwise, with a standard deviation of 1 for a typical method and an effect of the
seed of 0.37 on all methods (the correlation of two methods on digits is 0.12). The noise of real methods is that of
noise.csv.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltbench.results.comparisons import against_best, against_control, fit, intervals

Array = NDArray[np.float64]
KINDS = ("equal", "unequal", "one noisy", "noisy ce", "heavy tails", "slopes", "strong seeds")
REAL = ("real, first", "real, second", "real, imbalance 20")
DESIGNS = ("complete", "ragged", "more ce")
MORE_CE = 4
"""Seeds that only the baseline has in the design "more ce"."""


@dataclass(frozen=True)
class Row:
    """A row of the simulation.

    Attributes:
        kind: of ``KINDS`` or ``REAL``.
        design: ``complete``; ``ragged``: every method but the first lacks each seed with a probability of 0.3, but has
            at least two, and one of them has a seed of its own; ``more ce``: the first method has ``MORE_CE`` more.
        effects: whether half of the other methods differ from the first one (by -2 to +4 standard deviations), or none.
    """

    kind: str
    methods: int
    seeds: int
    design: str
    effects: bool


@dataclass
class Found:
    """What the statistics claim of the tables of a row; a claim is false also if its sign is wrong.

    Attributes:
        star_any: share of tables with a false difference to the first method.
        star_false: expected share of false claims among these (0 in a table without any).
        star_sign: share of tables with a claim of the wrong sign.
        star_power: share of the true differences to the first method that are claimed.
        best_any: share of tables that claim falsely that a method is worse than the best one.
        best_power: share of the methods that are truly worse than the one with the best mean and claimed to be.
        covered: share of the intervals of means that hold the truth; of the worst method: ``covered_worst``.
        wide: 90 % of the widths of a table are within this factor; the mean over tables.
    """

    star_any: float = 0
    star_false: float = 0
    star_sign: float = 0
    star_power: float = 0
    best_any: float = 0
    best_power: float = 0
    covered: float = 0
    covered_worst: float = 0
    wide: float = 0


@cache
def real_noise(part: str) -> tuple[Array, Array]:
    """Standard deviations [M] and the correlations' Cholesky factor [M, M] of real methods, ``ce`` first."""
    text = [line for line in (Path(__file__).parent / "noise.csv").open() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(text) if row["part"] == part]
    deviations = np.array([float(row["deviation"]) for row in rows])
    loadings = np.array([[float(row[f"loading_{i}"]) for i in range(1, 6)] for row in rows])
    correlations = loadings @ loadings.T
    np.fill_diagonal(correlations, 1)
    return deviations / np.sqrt((deviations**2).mean()), np.linalg.cholesky(correlations)


def true_means(row: Row) -> Array:
    """Means [M] in typical standard deviations, that of the first method 0."""
    means = np.zeros(row.methods)
    if row.effects:
        other = (row.methods - 1) // 2
        values = np.linspace(-2, 4, row.methods - 1 - other)
        means[1 + other :] = np.where(np.abs(values) < 0.3, 0, values)
    return means


def tables(row: Row, n: int, seed: int = 0) -> Iterator[tuple[Array, NDArray[np.int64]]]:
    """Scores [M, S], NaN where a method lacks a seed, and which method each line is (for the coverage of each)."""
    generator = np.random.default_rng([seed, row.methods, row.seeds, row.effects, *row.kind.encode()])
    seeds = row.seeds + {"complete": 0, "ragged": 1, "more ce": MORE_CE}[row.design]
    shape = (row.methods, seeds)
    means = true_means(row)
    for _ in range(n):
        who = np.arange(row.methods)
        if row.kind.startswith("real"):
            deviations, factor = real_noise(row.kind.removeprefix("real, "))
            who = np.r_[0, 1 + generator.permutation(len(deviations) - 1)[: row.methods - 1]]
            noise = (factor @ generator.normal(size=(len(factor), seeds)))[who] * deviations[who, None]
        else:
            noise = (
                generator.standard_t(4, shape) / 2**0.5 if row.kind == "heavy tails" else generator.normal(size=shape)
            )
            noise *= _spread(row, generator, means)[:, None]
            noise += generator.normal(0, 3 if row.kind == "strong seeds" else 0.37, size=seeds)
        scores = means[:, None] + noise
        if row.design == "more ce":
            scores[1:, row.seeds :] = np.nan
        if row.design == "ragged":
            scores[np.arange(row.methods) != row.methods // 2, -1] = np.nan
            missing = generator.uniform(size=(row.methods - 1, row.seeds)) < 0.3
            missing[:, :2] = False  # which two seeds all have does not matter
            scores[1:, : row.seeds][missing] = np.nan
        yield scores, who


def _spread(row: Row, generator: np.random.Generator, means: Array) -> Array:
    """The standard deviation of each method, [M]."""
    spread = np.ones(row.methods)
    if row.kind == "unequal":
        spread = 1.6 ** generator.normal(size=row.methods)
    if row.kind == "slopes":
        spread = np.exp(0.25 * means)
    if row.kind in ("one noisy", "noisy ce"):
        spread[-1 if row.kind == "one noisy" else 0] = 3
    return spread


def simulate(row: Row, n: int, seed: int = 0) -> Found:
    """Claims about ``n`` tables."""
    means, found = true_means(row), Found()
    others = np.arange(row.methods) > 0
    differ = means[others] != 0
    worse = claimed_worse = 0
    held = np.zeros((39, 2))
    for scores, who in tables(row, n, seed):
        model = fit(scores)
        differences, _, p = against_control(model, 0, others)
        claims, signs = p < 0.05, np.sign(differences) == np.sign(means[others])
        found.star_any += (claims & ~signs).any() / n
        found.star_false += (claims & ~signs).sum() / max(1, claims.sum()) / n
        found.star_sign += (claims & ~signs & differ).any() / n
        found.star_power += (claims & signs).sum() / max(1, differ.sum()) / n
        best, _, p = against_best(model)
        truly = means < means[best]
        found.best_any += ((p < 0.05) & ~truly).any() / n
        claimed_worse, worse = claimed_worse + ((p < 0.05) & truly).sum(), worse + truly.sum()
        widths = intervals(model)
        inside = np.abs(np.nanmean(scores, axis=1) - means) <= widths
        np.add.at(held, who, np.stack([inside, np.ones_like(inside)], axis=1))
        low, high = np.quantile(widths, [0.05, 0.95])
        found.wide += high / low / n
    found.best_power = claimed_worse / max(1, worse)
    held = held[held[:, 1] > 0]
    found.covered, found.covered_worst = held[:, 0].sum() / held[:, 1].sum(), (held[:, 0] / held[:, 1]).min()
    return found


def grid(kinds: tuple[str, ...], methods: tuple[int, ...], seeds: tuple[int, ...]) -> list[Row]:
    """All rows that there are: ``slopes`` need effects, and noise is known of so many methods only."""
    return [
        Row(kind, m, s, design, effects)
        for kind in kinds
        for m in methods
        for s in seeds
        for design in DESIGNS
        for effects in (False, True)
        if (effects or kind != "slopes") and (m <= 15 or kind != "real, imbalance 20")
    ]
