"""Records that cannot be read; plans, studies and identifiers that are none: named, and skipped where possible."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from tests.conftest import FAST, Answer
from tests.made import as_planned, made_record
from tests.reliability.attack import PATIENCE_S, ROOT, Attack, fault

SHOWING = (
    ("leaderboard",),
    ("status",),
    ("show", "a"),
    ("classes", "ce"),
    ("verify",),
    ("compare", "results", "results"),
)
DRY = ("run", "--methods", "ce", "--dry-run")


def without_rights(*words: str) -> Answer:
    """Run the command line in a process to which permissions apply, also where the tests are run by root."""
    who = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*who, sys.executable, "-m", "ltbench", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
@fault("Results folder", "a folder of records without the permission to read it")
def test_records_without_permission(attack: Attack) -> None:
    made_record(Store("results"), "ce")
    Path("results/records").chmod(0)
    attack.words = ("leaderboard",)
    answer = without_rights("leaderboard")
    Path("results/records").chmod(0o755)
    assert "no results" not in answer.err
    attack.shown(answer, 2, "results/records cannot be read (Permission denied); restore the folder or its permissions")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everything")
@fault("Results folder", "a results folder of somebody else, which this user may only read")
def test_a_folder_of_somebody_else(attack: Attack) -> None:
    made_record(Store("results"), "ce")
    Path("results").chmod(0o555)
    attack.words = ("run", *FAST, "--methods", "focal")
    answer = without_rights(*attack.words)
    Path("results").chmod(0o755)
    attack.shown(answer, 2, "results folder results cannot be written (Permission denied); give another one with")


@pytest.mark.parametrize("words", [*SHOWING, DRY], ids=lambda words: words[0])
@fault("Results folder", "a file in place of the folder of records")
def test_a_file_in_place_of_the_records(attack: Attack, words: tuple[str, ...]) -> None:
    Path("results").mkdir()
    Path("results/records").write_text("")
    answer = attack(*words)
    assert "no results" not in answer.err
    attack.shown(answer, 2, "results/records cannot be read (Not a directory)")


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nothing")], ids=["folder", "pipe", "link"]
)
@fault("Results folder", "a folder, a pipe or a link to nothing in place of a record")
def test_what_is_no_file_in_place_of_a_record(attack: Attack, make: Callable[[Path], None]) -> None:
    Path("results/records").mkdir(parents=True)
    make(Path("results/records/a-1.json"))
    attack.shown(attack("leaderboard"), 2, "results/records/a-1.json ")


def planned() -> dict[str, object]:
    """The plan of a run of one finished cell."""
    record = made_record(Store("results"), "ce")
    return {"created": record.created, "suite": "quickstart", "cells": [as_planned(record)]}


DAMAGE: dict[str, Callable[[dict], object]] = {
    "cut": lambda plan: json.dumps(plan)[:-30],
    "empty": lambda plan: "",
    "a list": lambda plan: "[]",
    "without cells": lambda plan: json.dumps(plan | {"cells": None}),
    "a cell without its id": lambda plan: json.dumps(plan | {"cells": [{"row": "a"}]}),
    "not UTF-8": lambda plan: b"\xff" + json.dumps(plan).encode(),
}


@pytest.mark.parametrize("how", DAMAGE)
@fault("Results folder", "a plan that is cut, empty, of another form or without its keys")
def test_a_damaged_plan_is_skipped(attack: Attack, how: str) -> None:
    plan = planned()
    Store("results").add_plan("whole", plan)
    content = DAMAGE[how](plan)
    Path("results/plans/broken.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = attack("status")
    attack.shown(answer, 0, "skipped: results/plans/broken.json is not a plan of ltbench")
    assert answer.err.count("\n") == 1
    assert "quickstart" in answer.out
    assert attack("leaderboard", "--suite", "quickstart").status == 0
    assert attack(*DRY).status == 0


@fault("Results folder", "a file in place of the folder of plans")
def test_a_file_in_place_of_the_plans(attack: Attack) -> None:
    planned()
    Path("results/plans").write_text("")
    attack.shown(attack("status"), 2, "results/plans cannot be read (Not a directory)")


STUDY = "digits--20--digits-epochs-2--ce"


def line(**values: object) -> str:
    """A line of the journal of a study, which is of an operation."""
    return json.dumps({"worker_id": "a"} | values) + "\n"


def facts(values: object, name: str = STUDY) -> str:
    """A journal whose study has such facts."""
    study = line(op_code=0, study_name=name, directions=[2])
    return study + line(op_code=2, study_id=0, user_attr={"facts": values})


JOURNALS = {
    "text": 'no journal, but "facts"\n',
    "no facts": facts({}),
    "a list": facts([1]),
    "an unknown operation": facts({}) + line(op_code=99),
    "a trial of no study": facts({}) + line(op_code=4, study_id=5),
    "another study": facts({}, "other"),
}


def planted(content: str) -> Path:
    made_record(Store("results"), "ce")
    path = Path(f"results/tuning/studies/{STUDY}.journal")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize("how", JOURNALS)
@fault("Results folder", "a study's journal that is text, of another study, or without its facts")
def test_a_damaged_journal_is_named(attack: Attack, how: str) -> None:
    path = planted(JOURNALS[how])
    answer = attack("run", *FAST, "--methods", "ce", "--tuned", "--dry-run")
    attack.shown(answer, 2, f"{path} is not a journal of a study")


@pytest.mark.slow
@fault("Results folder", "a damaged journal beside results that are reported")
def test_a_damaged_journal_is_skipped(attack: Attack) -> None:
    path = planted(JOURNALS["no facts"])
    answer = attack("report", "-o", "results/page.html")
    attack.shown(answer, 0, f"skipped: {path} is not a journal of a study")


@fault("MLflow", "an identifier of the results folder that would change the query")
def test_a_tracking_id_that_is_none(attack: Attack) -> None:
    made_record(Store("results"), "ce")
    Path("results/tracking-id").write_text("' OR tags.kind = 'seed")
    attack.shown(attack("sync"), 2, "results/tracking-id is not an identifier of ltbench; remove it")
