"""The page of the commands says which of them run the files in ``methods/``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import Answer
from tests.made import made_record
from tests.reliability.attack import Attack, fault

READERS = (
    *(("ls", "suites"), ("ls", "recipes"), ("status",), ("leaderboard",), ("classes", "ce"), ("verify",), ("clean",)),
    *(("report", "-o", "results/page.html"), ("compare", "results", "results"), ("data", "check", "digits")),
)


def planted() -> Path:
    """A method file that leaves a trace where it runs, and results beside it."""
    Path("methods").mkdir()
    Path("results").mkdir(exist_ok=True)
    Path("methods/mine.py").write_text("from pathlib import Path\nPath('results/ran').write_text('')\n")
    return Path("results/ran")


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@fault("Methods", "a stranger's method file beside results that are only read")
def test_commands_that_run_no_method_file(attack: Attack, words: tuple[str, ...]) -> None:
    made_record(Store("results"), "ce")
    trace = planted()
    answer = attack(*words)
    assert not trace.exists()
    if words == ("verify",):  # the made-up record has a made-up command
        attack.shown(answer, 1, "the record's command cannot be repeated")
    else:
        attack.shown(answer, 0, "")


@pytest.mark.parametrize("words", [("ls", "methods"), ("run", "--dry-run", "--methods", "ce")], ids=" ".join)
def test_commands_that_run_method_files(ltbench: Callable[..., Answer], words: tuple[str, ...]) -> None:
    trace = planted()
    assert ltbench(*words).status == 0
    assert trace.exists()
