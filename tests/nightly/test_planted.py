"""Planted regressions are found and named, and clean nights raise no alarm.

One command: ``pytest tests/nightly/test_planted.py -m long -s``. Only where numbers repeat bit for bit:
``-k "repeat or (clean and not machines and not 20)"``, which took 22 minutes beside a load of 15 on two cores.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nightly.planted import ELSEWHERE, EVERY, FEWER, PLANTS, SLOWER, bless, checkout, night, nights

pytestmark = pytest.mark.long
EXACT, ELSEWHERE_TOO = ("--no-speed", "--suite", "short.toml"), ("--no-speed", "--suite", "long.toml")
SPEED = ("--no-learning",)
CLEAN_NIGHTS = 10
Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Makes copies of the checkout with edits."""
    return lambda *edits: checkout(tmp_path_factory.mktemp("copy"), *edits)


@pytest.fixture(scope="module")
def clean(copies: Copy) -> Path:
    """The code as it is."""
    return copies(FEWER)


@pytest.fixture(scope="module")
def exact(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The accuracies of the code as it is, to be compared bit for bit."""
    return bless(clean, tmp_path_factory.mktemp("exact"), *EXACT)


@pytest.fixture(scope="module")
def tested(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a longer suite, to be compared with other machines."""
    return bless(clean, tmp_path_factory.mktemp("tested"), *ELSEWHERE_TOO)


@pytest.fixture(scope="module")
def limits(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The limits of the speed of the code as it is."""
    return bless(clean, tmp_path_factory.mktemp("limits"), *SPEED)


@pytest.mark.parametrize("plant", PLANTS)
def test_where_numbers_repeat_a_plant_is_found_in_every_method_that_it_touches(
    copies: Copy, exact: Path, plant: str
) -> None:
    planted = PLANTS[plant]
    found = night(copies(planted.edits), exact, *EXACT)
    print(f"\n{plant}:", *found.fell, sep="\n  ")
    assert found.status == 1
    assert found.alarmed == planted.methods
    assert all(planted.named in text for text in found.fell)


@pytest.mark.parametrize("plant", PLANTS)
def test_elsewhere_a_plant_is_found_where_its_loss_is_detectable(copies: Copy, tested: Path, plant: str) -> None:
    planted = PLANTS[plant]
    found = night(copies(planted.edits, ELSEWHERE), tested, *ELSEWHERE_TOO)
    losses = {name: row["after"] - row["before"] for name, row in found.rows.items() if name in planted.methods}
    finds = {name: found.rows[name]["detectable"] for name in losses}
    print(f"\n{plant}: fell {found.fell or 'nothing'}; together {found.values['together']}")
    print(*(f"  {name}: {losses[name]:+.1f} points, {finds[name]:.1f} can be found" for name in losses), sep="\n")
    assert not any(row["verdict"] == "changed" for row in found.rows.values())
    assert found.alarmed <= planted.methods
    assert {name for name in losses if losses[name] < -finds[name]} <= found.alarmed


def test_ten_clean_nights_raise_no_alarm(clean: Path, exact: Path) -> None:
    found = nights(clean, exact, CLEAN_NIGHTS, *EXACT)
    assert [line["fell"] for line in found] == [[]] * CLEAN_NIGHTS
    assert all(set(line["verdicts"].values()) == {"identical"} for line in found)
    assert {name.removeprefix("digits/") for name in found[0]["verdicts"]} == EVERY


def test_ten_clean_nights_on_other_machines_raise_no_alarm(copies: Copy, tested: Path) -> None:
    """Each night is another machine, so each is a draw of its own: at a rate of 1/30, one alarm may be chance."""
    found = nights(copies(ELSEWHERE), tested, CLEAN_NIGHTS, *ELSEWHERE_TOO)
    for line in found:
        print(f"\ntogether {line['together']:+.2f} points, fell {line['fell'] or 'nothing'}")
        assert {"no difference"} <= set(line["verdicts"].values())
    assert len({line["together"] for line in found}) == CLEAN_NIGHTS
    assert sum(bool(line["fell"]) for line in found) <= 1


def test_a_step_that_takes_20_percent_longer_is_found_and_ten_clean_nights_raise_no_alarm(
    copies: Copy, clean: Path, limits: Path
) -> None:
    slow = copies(FEWER, SLOWER)
    found = night(slow, limits, *SPEED)
    print("\nslower:", *found.fell, sep="\n  ")
    assert found.status == 1
    assert any(text.startswith("test_step[") for text in found.fell)
    assert not any(text.startswith(("test_batch", "test_plan", "test_command")) for text in found.fell)
    lines = nights(clean, limits, CLEAN_NIGHTS, *SPEED)
    print("clean nights:", *(line["fell"] or "nothing" for line in lines), sep="\n  ")
    assert [line["fell"] for line in lines] == [[]] * CLEAN_NIGHTS
