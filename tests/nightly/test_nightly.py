"""``ltbench nightly``: what it compares, how it answers, and who may move the baseline."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.nightly.baseline import Baseline
from ltbench.results.record import Record
from ltbench.results.store import Store
from tests.conftest import Answer
from tests.results.test_compared import elsewhere, shifted

Cli = Callable[..., Answer]
SUITE = """
datasets = ["digits"]
imbalance = [20]
methods = ["ce", "focal"]
seeds = 2
baseline_seeds = 0
recipe = { base = "digits", epochs = 1 }
"""
NIGHT = ("nightly", "--suite", "small.toml", "--baseline", "blessed", "--workers", "1")


@pytest.fixture
def blessed(ltbench: Cli) -> Store:
    """The baseline of two methods, blessed by one command."""
    Path("small.toml").write_text(SUITE)
    answer = ltbench(*NIGHT, "--bless", "--because", "a first baseline")
    assert answer.status == 0, answer.err
    return Baseline(Path("blessed")).store


def rewrite(store: Store, change: Callable[[Record], Record | None]) -> None:
    """Change the records of a baseline; None removes one."""
    found = list(store.latest().values())
    for path in (store.root / "records").iterdir():
        path.unlink()
    for record in map(change, found):
        if record is not None:
            store.add(record)


def test_a_clean_night_raises_no_alarm_and_leaves_no_networks(ltbench: Cli, blessed: Store) -> None:
    answer = ltbench(*NIGHT, "-o", "summary.md")
    assert answer.status == 0
    assert "2 rows: 2 identical" in answer.out
    assert "Nothing fell" in Path("summary.md").read_text()
    (_, night) = sorted(path for path in Path("nightly").iterdir() if path.is_dir())
    assert not list((night / "stages").iterdir())


def test_a_night_that_differs_names_the_methods_and_the_code(ltbench: Cli, blessed: Store) -> None:
    def edited(record: Record) -> Record:
        return shifted(record, 0.1, sources=record.sources | {"methods/focal.py focal_loss": "another"})

    rewrite(blessed, lambda record: edited(record) if record.method == "focal" else record)
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "FELL" in answer.out
    assert "digits/focal" in answer.out
    assert "digits/ce" not in answer.out.partition("FELL")[2]
    assert "methods/focal.py focal_loss" in answer.out


def test_on_another_machine_a_test_decides_and_says_what_it_finds(ltbench: Cli, blessed: Store) -> None:
    noise = (0.4, -0.3)
    rewrite(blessed, lambda r: elsewhere(shifted(r, noise[r.seed] + 20 * (r.method == "focal"))))
    answer = ltbench(*NIGHT, "--json")
    found = {row["entry"]: row for row in json.loads(answer.out)["rows"]}
    assert answer.status == 1
    assert (found["ce"]["verdict"], found["focal"]["verdict"]) == ("no difference", "worse")
    assert 0 < found["ce"]["detectable"] < 20


def test_a_lost_method_is_an_alarm(ltbench: Cli, blessed: Store) -> None:
    Path("small.toml").write_text(SUITE.replace(', "focal"', ""))
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "digits/focal missing" in answer.out


def test_a_failed_cell_is_an_alarm_and_cannot_be_blessed(
    ltbench: Cli, blessed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ltbench.engine import train

    def fail(*_: object) -> None:
        raise train.TrainingFailed("loss became nan")

    before = sorted(path.name for path in (blessed.root / "records").iterdir())
    monkeypatch.setattr(train, "_check_finite", fail)
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "digits/ce failed" in answer.out
    again = ltbench(*NIGHT, "--bless", "--because", "no reason")
    assert (again.status, "nothing was blessed" in again.err) == (2, True)
    assert sorted(path.name for path in (blessed.root / "records").iterdir()) == before


def test_blessing_says_who_when_why_and_on_which_revision(ltbench: Cli, blessed: Store) -> None:
    Path("small.toml").write_text(SUITE.replace(', "focal"', ""))
    assert ltbench(*NIGHT, "--bless", "--because", "focal is gone").status == 0
    lines = [json.loads(line) for line in Path("blessed/blessings.jsonl").read_text().splitlines()]
    assert [line["why"] for line in lines] == ["a first baseline", "focal is gone"]
    assert {*lines[1]} == {"who", "when", "why", "revision", "what", "machine"}
    assert all(lines[1].values())
    assert {record.method for record in blessed.latest().values()} == {"ce"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--bless",), "--bless needs a reason"),
        ((), "no baseline in"),
        (("--bless", "--because", " "), "--bless needs a reason"),
    ],
)
def test_what_is_missing_is_one_line(ltbench: Cli, words: tuple[str, ...], says: str) -> None:
    Path("small.toml").write_text(SUITE)
    answer = ltbench(*NIGHT, *words)
    assert answer.status == 2
    assert says in answer.err
    assert not Path("nightly").exists()
