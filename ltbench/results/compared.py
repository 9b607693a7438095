"""Two results folders compared, cell by cell: what an edit, another version or another machine changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from ltbench.results.record import Record
from ltbench.results.statistics import LEVEL, Array, moderated

Verdict = Literal["identical", "no difference", "one pair", "changed", "better", "worse", "failed", "missing", "new"]
ALARMS: tuple[Verdict, ...] = ("changed", "better", "worse", "failed", "missing")
"""The verdicts that are beyond noise."""
POWER = 0.8


class Place(NamedTuple):
    """Where a row stands: the coordinates of its cells, without the seed. Code and values of the recipe may differ."""

    dataset: str
    imbalance: str
    subset_seed: int
    holdout: int
    recipe: str
    entry: str

    @classmethod
    def of(cls, record: Record) -> "Place":
        """That of a record."""
        return cls(*(getattr(record, name) for name in cls._fields))


@dataclass(frozen=True)
class Pair:
    """A cell in both folders; the one of A finished.

    Attributes:
        before, after: balanced accuracy in percent; ``after`` is None where the cell of B failed.
        repeats: whether both were trained where numbers are rounded alike, so that equal code gives equal bits.
        identical: whether they predict the same, bit for bit.
    """

    seed: int
    before: float
    after: float | None
    repeats: bool
    identical: bool


@dataclass(frozen=True)
class Change:
    """What became of a row.

    Attributes:
        pairs: its cells in both folders, in order of their seeds.
        before, after: mean balanced accuracy over the pairs in percent; NaN without pairs.
        half_width: of the 95 % interval of the mean difference, in points; 0 where all pairs are identical; NaN with
            one pair.
        p: of no difference, adjusted for the number of rows by Holm's method; NaN where nothing is tested.
        detectable: the loss in points that the test finds with 80 % power in a single row; 0 where numbers repeat bit
            for bit, so that every change is found; NaN with one pair.
        touched: pieces of source code, values of the recipe and hyper-parameters that are not the same in both.
    """

    place: Place
    verdict: Verdict
    pairs: tuple[Pair, ...]
    before: float
    after: float
    half_width: float
    p: float
    detectable: float
    touched: tuple[str, ...]


@dataclass(frozen=True)
class PairedTest:
    """A row's paired t-test: see the attributes of `Change`."""

    half_width: float = np.nan
    p: float = np.nan
    detectable: float = np.nan


def compare(before: Iterable[Record], after: Iterable[Record], alpha: float = 1 - LEVEL) -> list[Change]:
    """Compare the cells that two results folders have in common, and name the others.

    Differences are paired by seed. Their variance is moderated over all rows of the comparison, as in a leaderboard.

    Args:
        before, after: records; the newest of each seed counts.
        alpha: probability of a false alarm among all rows together, where numbers do not repeat bit for bit.

    Returns:
        A change for each row, in the order of the table and the method.
    """
    old, new = _rows(before), _rows(after)
    places = sorted(old.keys() | new.keys())
    pairs = {place: _pairs(old.get(place, {}), new.get(place, {})) for place in places}
    tests = paired_tests({place: _differences(found) for place, found in pairs.items() if not _identical(found)}, alpha)
    return [
        _change(place, old.get(place, {}), new.get(place, {}), pairs[place], tests.get(place, PairedTest()), alpha)
        for place in places
    ]


K = TypeVar("K")


def paired_tests(differences: Mapping[K, Array], alpha: float) -> dict[K, PairedTest]:
    """The paired t-tests of rows with at least two differences, with moderated variances and Holm's method.

    Args:
        differences: of each row, by seed, in points.
        alpha: see `compare`.
    """
    rows = {row: values for row, values in differences.items() if len(values) > 1}
    variances, freedom = moderated([v.var(ddof=1) for v in rows.values()], [len(v) - 1.0 for v in rows.values()])
    errors = np.sqrt(variances / [len(v) for v in rows.values()]) if rows else np.empty(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(np.abs([values.mean() for values in rows.values()]) / errors)
    p = _holm(dict(zip(rows, 2 * stdtr(freedom, -t), strict=True)))
    widths = stdtrit(freedom, (1 + LEVEL) / 2) * errors
    found = (stdtrit(freedom, 1 - alpha / 2 / max(1, len(rows))) + stdtrit(freedom, POWER)) * errors
    return {row: PairedTest(float(w), p[row], float(d)) for row, w, d in zip(rows, widths, found, strict=True)}


Row = Mapping[int, Record]


def _rows(records: Iterable[Record]) -> dict[Place, dict[int, Record]]:
    """The newest record of each seed, by row: an edit of the code gives a cell another id."""
    found: dict[Place, dict[int, Record]] = {}
    for record in sorted(records, key=lambda record: record.created):
        found.setdefault(Place.of(record), {})[record.seed] = record
    return found


def _pairs(old: Row, new: Row) -> tuple[Pair, ...]:
    found = []
    for seed in sorted(old.keys() & new.keys()):
        a, b = old[seed].result, new[seed].result
        if a is not None:
            repeats = b is not None and (a.roundings, a.compiled) == (b.roundings, b.compiled)
            after = None if b is None else b.last.balanced_accuracy
            identical = b is not None and a.arrays == b.arrays
            found.append(Pair(seed, a.last.balanced_accuracy, after, repeats, identical))
    return tuple(found)


def _identical(pairs: Iterable[Pair]) -> bool:
    """Whether all pairs that finished predict the same, bit for bit."""
    done = [pair.identical for pair in pairs if pair.after is not None]
    return bool(done) and all(done)


def _differences(pairs: Iterable[Pair]) -> Array:
    return np.array([pair.after - pair.before for pair in pairs if pair.after is not None])


def _holm(p: Mapping[K, float]) -> dict[K, float]:
    """p values adjusted by Holm's method: a false alarm among all rows together is as likely as the level says."""
    adjusted, highest = dict[K, float](), 0.0
    for rank, row in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, min(1.0, float(p[row]) * (len(p) - rank)))
        adjusted[row] = highest
    return adjusted


def _change(place: Place, old: Row, new: Row, pairs: tuple[Pair, ...], test: PairedTest, alpha: float) -> Change:
    done = [pair for pair in pairs if pair.after is not None]
    before = float(np.mean([pair.before for pair in done])) if done else np.nan
    after = before + float(_differences(done).mean()) if done else np.nan
    verdict = _verdict(old, new, pairs, after - before, test.p < alpha)
    width = 0.0 if _identical(pairs) else test.half_width
    exact = bool(done) and all(pair.repeats for pair in done)
    detectable = 0.0 if exact else test.detectable
    return Change(place, verdict, pairs, before, after, width, test.p, detectable, _touched(old, new))


def _verdict(old: Row, new: Row, pairs: tuple[Pair, ...], difference: float, significant: bool) -> Verdict:
    if any(record.result is None and _finished(old, seed) for seed, record in new.items()):
        return "failed"
    if any(record.result is not None and seed not in new for seed, record in old.items()):
        return "missing"
    if not pairs:
        return "new"
    if _identical(pairs):
        return "identical"
    if significant:
        return "better" if difference > 0 else "worse"
    if any(pair.repeats and not pair.identical for pair in pairs):
        return "changed"
    return "no difference" if len(pairs) > 1 else "one pair"


def _finished(row: Row, seed: int) -> bool:
    """Whether a row has this cell and it did not fail; also where the row lacks it."""
    return seed not in row or row[seed].result is not None


def _touched(old: Row, new: Row) -> tuple[str, ...]:
    """What differs between the records of a row."""
    found: dict[str, None] = {}
    for seed in sorted(old.keys() & new.keys()):
        a, b = _parts(old[seed]), _parts(new[seed])
        found |= dict.fromkeys(name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name))
    return tuple(found)


def _parts(record: Record) -> dict[str, object]:
    """Everything that decides the numbers of a record, by name."""
    recipe = {f"recipe.{name}": value for name, value in record.recipe_values.items()}
    chain = {f"{link.method}.{name}": value for link in record.chain for name, value in link.hyperparameters.items()}
    return {**record.sources, **recipe, **chain, "fingerprint of the images": record.fingerprint}
