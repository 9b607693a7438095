"""The remaining time that a run shows."""

import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from ltbench.plan.expand import PlannedStage
from ltbench.runner import progress
from ltbench.runner.progress import Bars, Lines


def stage(name: str, work: float) -> PlannedStage:
    return PlannedStage(name, id=name, epochs=10, work=work)


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
        shared = stage("features", 300.0)
        lines.begin(
            {
                "crt": [shared, stage("classifier", 50.0)],
                "tau_norm": [shared, stage("tau", 50.0)],
                "focal": [stage("focal", 50.0)],
            }
        )
        clock.now = 110.0  # workers have started
        lines.epoch("crt", "features", 1, 10)
        for clock.now, cell in ((142.0, "crt"), (147.0, "tau_norm"), (152.0, "focal")):
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
        lines.begin({"ncm": [stage("ncm", 0.0)], "ce": [stage("ce", 100.0)]})
        clock.now += 1.0
        lines.finished("ncm", "71.0 %")
    assert capsys.readouterr().err == "[1/2] ncm: 71.0 %\n"


def test_epochs_of_running_cells_count_and_those_of_an_earlier_run_do_not(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines() as lines:
        lines.begin({name: [stage(name, 100.0)] for name in ("resumed", "short", "waiting")})
        lines.epoch("resumed", "resumed", 6, 10)
        clock.now += 11.0
        lines.epoch("resumed", "resumed", 7, 10)
        lines.finished("short", "71.0 %")  # 110 images in 11 seconds; 30 and 100 are left
    assert capsys.readouterr().err == "[1/3] short: 71.0 %; 13.0 s left\n"


def test_the_bar_of_a_suite_shows_the_same_time_and_counts_it_down(clock: SimpleNamespace) -> None:
    bars = Bars()
    shown = Console(width=100)

    def suite() -> str:
        with shown.capture() as text:
            shown.print(bars.progress.make_tasks_table(bars.progress.tasks))
        return next(line for line in text.get().splitlines() if line.startswith("suite"))

    with bars:
        bars.begin({"one": [stage("train", 300.0)], "two": [stage("2", 50.0)], "three": [stage("3", 50.0)]})
        bars.cell("one")
        bars.epoch("one", "train", 1, 4)
        clock.now = 115.0
        bars.epoch("one", "train", 2, 4)
        assert bars.progress.tasks[0].fields["ends"] == 115.0 + 50.0  # 75 images in 15 seconds; 250 are left
        clock.now = 145.0
        bars.finished("one", "71.0 %")
        assert "20.0 s" in suite()
        clock.now = 149.0
        assert "16.0 s" in suite()
        for clock.now, cell in ((155.0, "two"), (165.0, "three")):
            bars.finished(cell, "71.0 %")
        assert "3/3" in suite() and " s" not in suite()
