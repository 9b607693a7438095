"""The speed part of ``ltbench nightly``: limits, verdicts, and a second measurement of what fell."""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from ltbench.nightly import speed
from ltbench.nightly.learning import ALPHA
from tests.conftest import Answer

Cli = Callable[..., Answer]
SPEED = ("nightly", "--no-learning", "--baseline", "blessed")
Ratios = dict[str, float | None]


class Benchmarks:
    """Benchmarks with made-up ratios: the next of ``nights`` in each call."""

    def __init__(self) -> None:
        self.nights: Iterator[Ratios] = iter(())
        self.asked: list[Collection[str]] = []

    def measure(self, device: str, only: Collection[str] = ()) -> Ratios:
        self.asked.append(only)
        return {name: ratio for name, ratio in next(self.nights).items() if not only or name in only}


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Benchmarks:
    made = Benchmarks()
    monkeypatch.setattr(speed, "measure", made.measure)
    return made


@pytest.fixture
def blessed(ltbench: Cli, benchmarks: Benchmarks) -> None:
    benchmarks.nights = iter([{"test_step[ce]": 0.6 + i / 500, "test_cell": 2 + i / 100} for i in range(speed.RUNS)])
    assert ltbench(*SPEED, "--bless", "--because", "first").status == 0
    benchmarks.asked.clear()


@pytest.mark.usefixtures("blessed")
@pytest.mark.parametrize(
    ("nights", "status", "says"),
    [
        ([{"test_step[ce]": 0.61, "test_cell": 2.03}], 0, "Nothing fell"),
        ([{"test_step[ce]": 0.3, "test_cell": 2.03}], 0, "faster"),
        ([{"test_step[ce]": 0.73, "test_cell": 2.03}, {"test_step[ce]": 0.61}], 0, "Nothing fell"),
        ([{"test_step[ce]": 0.73, "test_cell": 2.03}, {"test_step[ce]": 0.73}], 1, "test_step[ce] slower: 1.2"),
        ([{"test_step[ce]": None, "test_cell": 2.03}], 1, "test_step[ce] failed"),
        ([{"test_cell": 2.03}], 1, "test_step[ce] failed"),
        ([{"test_step[ce]": 0.61, "test_cell": 2.03, "test_more": 1.0}], 0, "new"),
    ],
    ids=["as before", "faster", "slow once", "slow twice", "failed", "gone", "new"],
)
def test_what_is_slower_twice_falls(
    ltbench: Cli, benchmarks: Benchmarks, nights: list[Ratios], status: int, says: str
) -> None:
    benchmarks.nights = iter(nights)
    answer = ltbench(*SPEED)
    assert (answer.status, says in answer.out) == (status, True), answer.out
    assert benchmarks.asked == [(), ["test_step[ce]"]][: len(nights)]


def test_limits_are_those_of_the_machine(ltbench: Cli, benchmarks: Benchmarks, blessed: None) -> None:
    file = Path("blessed/speed.json")
    file.write_text(json.dumps({"another machine": next(iter(json.loads(file.read_text()).values()))}))
    benchmarks.nights = iter([{"test_step[ce]": 9.0, "test_cell": 9.0}])
    answer = ltbench(*SPEED)
    assert answer.status == 0
    assert "not compared, since there are no limits for" in answer.err


def test_the_rate_of_false_alarms_is_that_of_the_level() -> None:
    """47 benchmarks, each with its own noise, of which a night is slower than a limit by chance alone."""
    generator, alarms, nights = np.random.default_rng(0), 0, 400
    for _ in range(nights):
        noise = 0.03 * generator.uniform(0.5, 2, size=47)
        runs = np.exp(generator.normal(size=(speed.RUNS + 1, 47)) * noise)
        limits = speed.limits_of({str(i): runs[1:, i].tolist() for i in range(47)})
        alarms += any(one.pace == "slower" for one in speed.judge({str(i): runs[0, i] for i in range(47)}, limits))
    assert alarms / nights < 2 * ALPHA


def test_a_step_that_takes_20_percent_longer_is_above_its_limit() -> None:
    generator = np.random.default_rng(0)
    runs = {str(i): np.exp(generator.normal(size=speed.RUNS) * 0.02).tolist() for i in range(47)}
    found = speed.judge(dict.fromkeys(runs, 1.2), speed.limits_of(runs))
    assert sum(one.pace == "slower" for one in found) > 40


def test_where_benchmarks_are_not_installed_one_line_says_so(
    ltbench: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(speed, "CHECKOUT", tmp_path)
    answer = ltbench(*SPEED)
    assert answer.status == 2
    assert "an installed package has no benchmarks" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"a machine": {"test_cell": {"most": 1}}}'])
def test_a_damaged_file_of_limits_is_one_line(ltbench: Cli, benchmarks: Benchmarks, content: str) -> None:
    Path("blessed").mkdir()
    Path("blessed/speed.json").write_text(content)
    answer = ltbench(*SPEED)
    assert (answer.status, "blessed/speed.json has no limits" in answer.err) == (2, True)
    assert not benchmarks.asked


def test_nothing_to_do_is_one_line(ltbench: Cli) -> None:
    assert "leave nothing to do" in ltbench("nightly", "--no-learning", "--no-speed").err


@pytest.mark.slow
def test_the_real_benchmarks_give_a_ratio_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # in whose workers pytest-benchmark measures nothing
    names = ["test_step[ce]", "test_evaluation"]
    assert all(0 < (ratio or 0) < 100 for ratio in speed.measure("cpu", names).values())
    assert set(speed.measure("cpu", names)) == set(names)
    assert speed.measure("cpu", ["test_that_is_not_there"]) == {"benchmarks": None}
