"""Code that is edited while a run is going: every record is of the code that its identity names, or there is none."""

import shutil
from pathlib import Path

import pytest

import ltbench.api.training
from ltbench.results.store import Store
from tests.conftest import FAST, MINE, Answer, records
from tests.reliability.attack import ROOT, Attack, ended, fault

EDITED = MINE.replace("Range(2.0", "Range(3.0")
AFTER_THE_PLAN = """
import ltbench.api.training as training
from pathlib import Path
announce = training.announce

def edit(*details):
    file = Path({file!r})
    file.write_text(file.read_text().replace({old!r}, {new!r}))
    return announce(*details)

training.announce = edit
"""
"""Python code that edits a file when the plan is made."""


@pytest.fixture(autouse=True)
def mine() -> None:
    """A method file."""
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)


def edit_after_the_plan(monkeypatch: pytest.MonkeyPatch, file: str, content: str) -> None:
    announce = ltbench.api.training.announce

    def edited(*details: object) -> object:
        if Path(file).read_text() != content:
            Path(file).write_text(content)
        return announce(*details)  # type: ignore[arg-type]

    monkeypatch.setattr(ltbench.api.training, "announce", edited)


def while_edited(attack: Attack, *words: str) -> Answer:
    """The answer of a command during which a file beside the results changes."""
    attack.words = words
    return attack.here(*words)


@fault("Code", "a method is edited while it trains")
def test_an_edited_method(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_after_the_plan(monkeypatch, "methods/mine.py", EDITED)
    says = "mine.Mine was edited during the run: its results are of the code before; repeat the command to train it"
    attack.shown(while_edited(attack, "run", *FAST, "--methods", "mine"), 1, says)
    (record,) = records().values()
    assert record.chain[0].hyperparameters == {"temperature": 2.0}
    assert attack("run", *FAST, "--methods", "mine").status == 0
    assert len(records()) == 2


@fault("Code", "a module that a method loads late is edited before that")
def test_an_edited_module_that_is_loaded_late(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    late = "        from _late import SHIFT\n        return SHIFT + F"
    Path("methods/mine.py").write_text(MINE.replace("        return F", late))
    Path("methods/_late.py").write_text("SHIFT = 0.0\n")
    words = ("run", *FAST, "--methods", "mine")
    edit_after_the_plan(monkeypatch, "methods/_late.py", "SHIFT = 10.0\n")
    says = "_late.py, which was edited after the run began; repeat the command"
    attack.shown(while_edited(attack, *words), 1, says)
    assert [record.status for record in records().values()] == ["failed"]
    assert not list(Path("results/stages").glob("*.pt"))
    assert attack(*words).status == 0


@pytest.mark.slow
@fault("Code", "a method is edited before the workers load it")
def test_a_method_that_workers_load_after_an_edit(attack: Attack) -> None:
    before = AFTER_THE_PLAN.format(file="methods/mine.py", old="Range(2.0", new="Range(3.0")
    words = ("run", *FAST[:-1], "2", "--methods", "mine,ce")
    says = "mine.Mine was edited, and a process that loads it later trains no cell of this plan; repeat the command"
    attack.shown(ended(attack.started(*words, before=before)), 1, says)
    assert [record.method for record in Store().latest().values()] == ["ce"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers",
    [
        pytest.param("1", marks=fault("Code", "ltbench is edited before it has loaded all of itself")),
        pytest.param("2", marks=fault("Code", "ltbench is edited before the workers have loaded it")),
    ],
)
def test_an_engine_that_is_loaded_after_an_edit(attack: Attack, workers: str) -> None:
    for folder in ("ltbench", "methods"):
        shutil.copytree(ROOT / folder, f"copy/{folder}", ignore=shutil.ignore_patterns("__pycache__"))
    before = AFTER_THE_PLAN.format(file="copy/ltbench/engine/optimiser.py", old="return ", new="assert True; return ")
    words = ("run", *FAST[:-1], workers, "--methods", "mine,ce")
    answer = ended(attack.started(*words, before=before, PYTHONPATH=str(Path("copy").resolve())))
    attack.shown(answer, 1, "was edited, and a process that loads it later trains no cell of this plan")
    assert "2 of 2 cells have no record" in answer.err
    assert Store().latest() == {}
