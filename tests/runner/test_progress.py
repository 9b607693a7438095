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
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_the_time_left_is_that_of_the_work_left_not_of_the_number_of_cells(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines() as lines:
        crt, tau_norm = {"features": 250.0, "classifier": 50.0}, {"features": 250.0, "tau": 50.0}
        lines.begin({"crt": crt, "tau_norm": tau_norm, "focal": {"focal": 50.0}})
        clock.now = 110.0  # workers have started
        lines.cell("crt")
        for clock.now, cell in ((140.0, "crt"), (145.0, "tau_norm"), (150.0, "focal")):
            lines.finished(cell, "71.0 %")
    assert re.findall(r"\[(.)/3\] \w+: 71.0 %(.*)", capsys.readouterr().err) == [
        ("1", "; 10.0 s left"),
        ("2", "; 5.0 s left"),
        ("3", ""),
    ]


def test_no_time_is_shown_before_anything_was_trained(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines() as lines:
        lines.begin({"ncm": {"ncm": 0.0}, "ce": {"ce": 100.0}})
        lines.cell("ncm")
        clock.now += 1.0
        lines.finished("ncm", "71.0 %")
    assert capsys.readouterr().err == "[1/2] ncm: 71.0 %\n"


def test_the_bar_of_a_suite_shows_the_same_time_and_counts_it_down(clock: SimpleNamespace) -> None:
    bars = Bars()
    shown = Console(width=100)

    def suite() -> str:
        with shown.capture() as text:
            shown.print(bars.progress.make_tasks_table(bars.progress.tasks))
        return next(line for line in text.get().splitlines() if line.startswith("suite"))

    with bars:
        bars.begin({"one": {"1": 300.0}, "two": {"2": 50.0}, "three": {"3": 50.0}})
        bars.cell("one")
        bars.epoch("one", "train", 1, 2)
        clock.now = 130.0
        bars.finished("one", "71.0 %")
        assert "10.0 s" in suite()
        clock.now = 134.0
        assert "6.0 s" in suite()
        for clock.now, cell in ((135.0, "two"), (140.0, "three")):
            bars.finished(cell, "71.0 %")
        assert "3/3" in suite() and " s" not in suite()
