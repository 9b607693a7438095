"""Two results folders compared, cell by cell: what an edit, another version or another machine changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from ltbench.results.record import Record
from ltbench.results.statistics import LEVEL, Array, moderated
from ltbench.results.store import Store

Verdict = Literal["identical", "no difference", "one pair", "changed", "better", "worse", "failed", "missing", "new"]
ALARMS: tuple[Verdict, ...] = ("changed", "better", "worse", "failed", "missing")
"""The verdicts that are beyond noise."""


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
        touched: pieces of source code, values of the recipe and hyper-parameters that are not the same in both.
    """

    place: Place
    verdict: Verdict
    pairs: tuple[Pair, ...]
    before: float
    after: float
    half_width: float
    p: float
    touched: tuple[str, ...]


def compare(before: Store, after: Store) -> list[Change]:
    """Compare the cells that two results folders have in common, and name the others.

    Differences are paired by seed. Their variance is moderated over all rows of the comparison, as in a leaderboard.

    Returns:
        A change for each row, in the order of the table and the method.
    """
    old, new = _rows(before.latest().values()), _rows(after.latest().values())
    places = sorted(old.keys() | new.keys())
    pairs = {place: _pairs(old.get(place, {}), new.get(place, {})) for place in places}
    differences = {place: _differences(of_row) for place, of_row in pairs.items()}
    tested = [place for place, found in differences.items() if len(found) > 1 and found.any()]
    variances, freedom = moderated(
        [differences[place].var(ddof=1) for place in tested], [len(differences[place]) - 1.0 for place in tested]
    )
    widths, p = dict.fromkeys(places, np.nan), dict.fromkeys(places, np.nan)
    for place, variance, f in zip(tested, variances, freedom, strict=True):
        error = np.sqrt(variance / len(differences[place]))
        widths[place] = float(stdtrit(f, (1 + LEVEL) / 2) * error)
        p[place] = float(2 * stdtr(f, -abs(differences[place].mean()) / error)) if error else 0.0
    p |= _holm({place: p[place] for place in tested})
    return [
        _change(place, old.get(place, {}), new.get(place, {}), pairs[place], widths[place], p[place])
        for place in places
    ]


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


def _differences(pairs: Iterable[Pair]) -> Array:
    return np.array([pair.after - pair.before for pair in pairs if pair.after is not None])


def _holm(p: Mapping[Place, float]) -> dict[Place, float]:
    """p values adjusted by Holm's method: a false alarm among all rows together is as likely as the level says."""
    adjusted, highest = dict[Place, float](), 0.0
    for rank, place in enumerate(sorted(p, key=lambda place: p[place])):
        highest = max(highest, min(1.0, p[place] * (len(p) - rank)))
        adjusted[place] = highest
    return adjusted


def _change(place: Place, old: Row, new: Row, pairs: tuple[Pair, ...], half_width: float, p: float) -> Change:
    done = [pair for pair in pairs if pair.after is not None]
    before = float(np.mean([pair.before for pair in done])) if done else np.nan
    after = before + float(_differences(done).mean()) if done else np.nan
    identical = bool(done) and all(pair.identical for pair in done)
    verdict = _verdict(old, new, pairs, identical, after - before, p)
    width = 0.0 if identical else half_width
    return Change(place, verdict, pairs, before, after, width, p, _touched(old, new))


def _verdict(old: Row, new: Row, pairs: tuple[Pair, ...], identical: bool, difference: float, p: float) -> Verdict:
    if any(pair.after is None for pair in pairs):
        return "failed"
    if any(record.result is not None and seed not in new for seed, record in old.items()):
        return "missing"
    if not pairs:
        return "new"
    if identical:
        return "identical"
    if p < 1 - LEVEL:
        return "better" if difference > 0 else "worse"
    if any(pair.repeats and not pair.identical for pair in pairs):
        return "changed"
    return "no difference" if len(pairs) > 1 else "one pair"


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
