"""How often the claims of a table are false, on noise like that of real methods. docs/statistics.md has the results."""

import numpy as np
import pytest
from scipy import stats

from tests.results.simulation import DESIGNS, KINDS, REAL, Found, Row, grid, real_noise, simulate, tables


def at_most(n: int) -> float:
    """Share of false claims below which 999 of 1,000 simulations of ``n`` tables stay where the truth is 5 %."""
    return float(stats.binom.ppf(0.999, n, 0.05) / n)


def checked(found: Found, n: int) -> None:
    """A row, or the mean of several, of ``n`` tables keeps what the claims promise."""
    assert found.star_false <= at_most(n)
    assert found.star_sign <= at_most(n)
    assert found.best_any <= at_most(n)


def mean(results: list[Found]) -> Found:
    """The mean of each number."""
    return Found(**{name: float(np.mean([getattr(r, name) for r in results])) for name in vars(results[0])})


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("kind", ["real, second", "noisy ce"])
def test_claims_about_equal_methods_are_rarely_false(kind: str, design: str) -> None:
    found = simulate(Row(kind, 15, 3, design, effects=False), 400)
    print(found)
    checked(found, 400)
    assert 0.9 < found.covered < 0.98


def test_real_effects_are_found_and_more_seeds_of_the_baseline_help() -> None:
    complete, more = (simulate(Row("real, second", 15, 3, design, effects=True), 150) for design in DESIGNS[::2])
    print(complete, more, sep="\n")
    checked(complete, 150)
    checked(more, 150)
    assert complete.star_power > 0.2
    assert more.star_power > 1.3 * complete.star_power
    assert complete.best_power > 0.6


def test_the_noise_is_that_of_the_table() -> None:
    deviations, factor = real_noise("first")
    assert len(deviations) == 39
    assert (factor @ factor.T)[0].max() == pytest.approx(1)
    scores = np.stack([scores for scores, _ in tables(Row("real, first", 39, 50, "complete", False), 1)])[0]
    assert scores[0].std() == pytest.approx(deviations[0], rel=0.3)
    for design in DESIGNS:
        for scores, _ in tables(Row("equal", 6, 5, design, False), 20):
            there = ~np.isnan(scores)
            assert there.all() == (design == "complete")
            assert (there.sum(axis=1) >= 2).all()
            assert there[0].sum() == (9 if design == "more ce" else 5)


@pytest.mark.long
def test_the_simulation_of_the_documentation() -> None:
    """Print its table: for each noise and design, over 6, 15 and 39 methods and 3, 5 and 10 seeds, in percent."""
    n = 300
    head = ["star_any", "best_any", "covered", "covered_worst", "star_false", "star_sign", "star_power", "best_power"]
    print(f"\n{'noise':20}{'design':10}" + "".join(f"{name:>15}" for name in head))
    for kind in KINDS + REAL:
        rows = grid((kind,), (6, 15, 39), (3, 5, 10))
        found = {row: simulate(row, n) for row in rows}
        for design in DESIGNS:
            equal, mixed = ([found[r] for r in rows if r.design == design and r.effects == on] for on in (False, True))
            shown = vars(mean(mixed)) | ({name: getattr(mean(equal), name) for name in head[:4]} if equal else {})
            print(f"{kind:20}{design:10}" + "".join(f"{100 * shown[name]:15.1f}" for name in head), flush=True)
            for results in (equal, mixed):
                if results:
                    checked(mean(results), n * len(results))
                    for one in results:
                        assert max(one.star_false, one.best_any) < 0.1
