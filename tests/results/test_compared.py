"""``ltbench compare``: what two results folders have in common, and what is beyond noise."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltbench.results.compared import compare, paired_tests
from ltbench.results.record import Record
from ltbench.results.store import Store
from tests.conftest import FAST, Answer

Cli = Callable[..., Answer]


def shifted(record: Record, points: float, **changes: object) -> Record:
    """The record with another accuracy and other predictions."""
    result = record.finished
    last = result.last.model_copy(update={"balanced_accuracy": result.last.balanced_accuracy + points})
    update = {"protocols": {**result.protocols, "last": last}, "arrays": f"{points:016.3f}"}
    return record.model_copy(update={"result": result.model_copy(update=update), **changes})


@pytest.fixture
def before(ltbench: Cli) -> Store:
    assert ltbench("run", *FAST, "--seeds", "3", "--methods", "ce,focal", "--results", "before").status == 0
    return Store("before")


def written(records: list[Record]) -> Store:
    store = Store("after")
    store.prepare()
    for record in records:
        store.add(record)
    return store


def test_equal_folders_are_identical(before: Store, ltbench: Cli) -> None:
    shutil.copytree("before", "after")
    answer = ltbench("compare", "before", "after")
    assert answer.status == 0
    assert "2 rows: 2 identical" in answer.out


def test_a_single_bit_counts_where_numbers_repeat(before: Store, ltbench: Cli) -> None:
    records = list(before.latest().values())
    focal = [record for record in records if record.method == "focal"]
    noise = dict(zip((record.id for record in focal), (0.1, -0.1, 0.0), strict=True))
    sources = {"methods/focal.py focal_loss": "another"}
    written([shifted(record, noise[record.id], sources=sources) if record in focal else record for record in records])
    answer = ltbench("compare", "before", "after", "--format", "json")
    ce, focal_row = json.loads(answer.out)
    assert answer.status == 1
    assert (ce["verdict"], focal_row["verdict"]) == ("identical", "changed")
    assert "methods/focal.py focal_loss" in focal_row["touched"]
    assert "Beyond noise: focal (changed)" in ltbench("compare", "before", "after").out


def elsewhere(record: Record) -> Record:
    """The record as if another machine had trained it."""
    result = record.finished
    stages = tuple(stage.model_copy(update={"environments": ("another",)}) for stage in result.stages)
    return record.model_copy(update={"result": result.model_copy(update={"stages": stages})})


@pytest.mark.parametrize(
    ("points", "verdict", "status"),
    [((0.3, -0.4, 0.2), "no difference", 0), ((-3.0, -3.1, -2.8), "worse", 1), ((3.0, 3.1, 2.8), "better", 1)],
)
def test_elsewhere_a_paired_test_decides(
    before: Store, ltbench: Cli, points: tuple[float, ...], verdict: str, status: int
) -> None:
    written([elsewhere(shifted(r, points[r.seed])) for r in before.latest().values()])
    answer = ltbench("compare", "before", "after", "--json")
    rows = json.loads(answer.out)
    assert answer.status == status
    assert [row["verdict"] for row in rows] == [verdict] * 2
    assert rows[0]["after"] - rows[0]["before"] == pytest.approx(np.mean(points))


def test_a_lost_row_and_a_failed_cell_are_alarms_and_a_new_row_is_none(before: Store, ltbench: Cli) -> None:
    records = list(before.latest().values())
    written(
        [r.model_copy(update={"result": None, "reason": "loss became nan"}) for r in records if r.method == "focal"]
        + [r.model_copy(update={"method": "ldam"}) for r in records if r.method == "ce"]
    )
    found = {
        change.place.entry: change.verdict
        for change in compare(before.latest().values(), Store("after").latest().values())
    }
    assert found == {"ce": "missing", "focal": "failed", "ldam": "new"}
    assert ltbench("compare", "after", "before").status == 1


def test_a_single_lost_seed_is_an_alarm(before: Store, ltbench: Cli) -> None:
    records = list(before.latest().values())
    written([r for r in records if (r.method, r.seed) != ("focal", 2)])
    answer = ltbench("compare", "before", "after")
    assert answer.status == 1
    assert "Beyond noise: focal (missing)" in answer.out


@pytest.mark.parametrize("deviation", [3.0, 0.3], ids=["noisy", "mostly equal"])
def test_the_rate_of_false_alarms_is_that_of_the_level(deviation: float) -> None:
    """39 rows without a difference, in steps of one of 360 test images; methods differ in their noise."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(600):
        spread = deviation * generator.uniform(0.5, 2, size=39)
        rounded = np.round(generator.normal(size=(39, 5)) * spread[:, None] / 0.28) * 0.28
        found = paired_tests(dict(enumerate(rounded)), 1 / 30)
        alarms += any(test.p < 1 / 30 for test in found.values())
    assert alarms / 600 < 0.055  # three standard errors above 1/30


def test_a_loss_that_is_called_detectable_is_found_in_8_of_10_cases() -> None:
    generator, found = np.random.default_rng(0), []
    for _ in range(300):
        noise = generator.normal(size=(20, 5))
        noise[0] -= (loss := paired_tests(dict(enumerate(noise)), 0.05)[0].detectable)
        found.append((paired_tests(dict(enumerate(noise)), 0.05)[0].p < 0.05, loss))
    assert 0.72 < np.mean([hit for hit, _ in found]) < 0.92


def test_a_missing_folder_is_one_line(ltbench: Cli) -> None:
    answer = ltbench("compare", "nowhere", "elsewhere")
    assert answer.status == 2
    assert "results folder nowhere does not exist" in answer.err
    assert not Path("nowhere").exists()
