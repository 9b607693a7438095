"""The remaining time that a run shows."""

import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from ltbench.runner import progress
from ltbench.runner.progress import Bars, Lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets, in seconds."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_the_time_left_is_that_of_the_work_left_not_of_the_number_of_cells(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines() as lines:
        lines.begin(3, 400.0)
        for clock.now, work in ((30.0, 300.0), (35.0, 50.0), (40.0, 50.0)):
            lines.finished("cell", "71.0 %", work)
    assert re.findall(r"\[(.)/3\] cell: 71.0 %(.*)", capsys.readouterr().err) == [
        ("1", "; 10.0 s left"),
        ("2", "; 5.0 s left"),
        ("3", ""),
    ]


def test_the_bar_of_a_suite_shows_the_same_time_and_counts_it_down(clock: SimpleNamespace) -> None:
    bars = Bars()
    shown = Console(width=100)

    def suite() -> str:
        with shown.capture() as text:
            shown.print(bars.progress.make_tasks_table(bars.progress.tasks))
        return next(line for line in text.get().splitlines() if line.startswith("suite"))

    with bars:
        bars.begin(3, 400.0)
        bars.cell("cell")
        bars.epoch("cell", "train", 1, 2)
        clock.now = 30.0
        bars.finished("cell", "71.0 %", 300.0)
        assert "10.0 s" in suite()
        clock.now = 34.0
        assert "6.0 s" in suite()
        for clock.now in (35.0, 40.0):
            bars.finished("cell", "71.0 %", 50.0)
        assert "3/3" in suite() and " s" not in suite()
