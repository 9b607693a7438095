"""The page of the commands says which of them run the files in ``methods/``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST, Answer
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


@pytest.mark.slow
@pytest.mark.parametrize("words", [("export", "{id}", "-o", "results/model"), ("verify", "--retrain")], ids=" ".join)
@fault("Methods", "a record whose command names a folder with a stranger's method file")
def test_a_folder_of_methods_that_only_the_record_names(attack: Attack, words: tuple[str, ...]) -> None:
    assert attack("run", *FAST, "--methods", "ce").status == 0
    (record,) = Store("results").latest().values()
    (path,) = Path("results/records").iterdir()
    path.write_bytes(record.model_copy(update={"command": f"{record.command} --methods-dir results/theirs"}).write())
    Path("results/theirs").mkdir()
    Path("results/theirs/theirs.py").write_text("from pathlib import Path\nPath('results/ran').write_text('')\n")
    words = tuple(word.format(id=record.id) for word in words)
    answer = attack(*words)
    attack.shown(answer, 1 if words[0] == "verify" else 2, "add --methods-dir results/theirs if you trust these files")
    assert not Path("results/ran").exists()
    assert attack(*words, "--methods-dir", "results/theirs").status == 0
    assert Path("results/ran").exists()
