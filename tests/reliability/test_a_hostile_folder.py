"""A results folder and a method file of somebody who means harm: what every command does with them."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from ltbench.cli import app
from ltbench.results.store import Store
from ltbench.runner.checkpoint import StageFile
from ltbench.tracking.own_database import artifacts
from tests.cli.test_help import commands
from tests.conftest import FAST
from tests.made import as_planned, made_record, record_of
from tests.reliability.attack import Attack, fault
from tests.reliability.test_hostile_databases import TABLES

TEXT = "[/red]\x1b]0;owned\x07=cmd|' /C calc'!A0 \\input{x} <script>alert(1)</script>"
METHOD = """
from pathlib import Path
Path("results/ran").write_text("")
raise SystemExit(0)
"""


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ../outside/evil",)


def plant() -> Path:
    """Everything that a stranger may put into a results folder and a method file; returns a folder outside of it."""
    outside = Path("../outside").resolve()
    outside.mkdir()
    (outside / "victim").write_text("mine")
    store = Store("results")
    made_record(Store("other"), "ce", skill=2.0)
    one = made_record(store, "ce", suite=TEXT, command=f"ltbench run; touch {outside}/evil")
    shutil.copytree("other/records", "results/records", dirs_exist_ok=True)  # two results of one cell
    shutil.rmtree("other")
    two = made_record(store, "focal", command=f"ltbench run; touch {outside}/evil")
    store.arrays_path(two.id).write_bytes(store.arrays_path(one.id).read_bytes())
    store.add(record_of("crt").model_copy(update={"result": None, "reason": TEXT}))
    store.add_plan("whole", {"suite": TEXT, "cells": [as_planned(one)]})
    Path("results/plans/broken.json").write_text('{"cells": [{"id": "../../outside/victim"}]}')
    path = store.stage_path("0123456789abcdef")
    path.parent.mkdir()
    torch.save(Evil(), path)
    path.write_bytes(StageFile(path, torch.device("cpu"), 0)._head(path.read_bytes()) + path.read_bytes())
    studies = Path("results/tuning/studies")
    studies.mkdir(parents=True)
    (studies / "digits--20--digits-epochs-2--ce.journal").write_text(
        json.dumps({"op_code": 2, "user_attr": {"facts": []}}) + "\n"
    )
    Path("results/tracking-id").write_text("' OR 1=1")
    Path("results/locks").mkdir(exist_ok=True)
    Path("results/locks", f"{two.id}.lease").symlink_to(outside / "victim")
    ours = Path("results/mlflow").resolve()
    ours.mkdir()
    with sqlite3.connect(ours / "mlflow.db") as connection:
        connection.executescript(TABLES.format(base=artifacts(ours)))
        connection.execute("UPDATE runs SET artifact_uri = ?", [outside.as_uri()])
    connection.close()
    Path("results/stages/link").symlink_to(outside)
    Path("results/more").symlink_to(outside)
    plant_nights()
    plant_model_and_images(outside)
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(METHOD)
    return outside


def plant_nights() -> None:
    """A history of nights, a baseline and a suite."""
    night = {"created": TEXT, "revision": TEXT, "machine": TEXT, "folder": TEXT, "seconds": 1.0, "fell": [TEXT]}
    night |= {"accuracy": {TEXT: 50.0}, "ratios": {TEXT: 1.0}}
    Path("results/history.jsonl").write_text(json.dumps(night) + "\n")
    shutil.copytree("results/records", "results/nightly/baseline/records")
    suite = {"datasets": ["digits"], "imbalance": [20], "methods": ["ce", "mine"], "seeds": 1, "baseline_seeds": 0}
    lines = [f"{key} = {json.dumps(value)}" for key, value in suite.items()]
    Path("results/suite.toml").write_text("\n".join([*lines, 'recipe = { base = "digits", epochs = 1 }']))


def plant_model_and_images(outside: Path) -> None:
    """An exported model that would run code, and an image folder with a hostile name and a link."""
    Path("results/model").mkdir()
    about = {"classes": [TEXT, "b"], "image": [8, 8, 1], "interpolation": "bilinear"}
    Path("results/model/model.json").write_text(json.dumps(about))
    torch.save(Evil(), "results/model/model.pt2")
    for name in ("a\x1b[31m[b]", "b"):
        Path("results/pictures", name).mkdir(parents=True)
        for number in range(2):
            (Path("results/pictures") / name / f"{number}.png").symlink_to(outside / "victim")


IMAGES = "imagefolder:results/pictures"
NIGHT = ("nightly", "--no-speed", "--no-tracking", "--folder", "results", "--baseline", "results/nightly")
COMMANDS: dict[tuple[str, ...], tuple[int, str]] = {
    ("leaderboard",): (0, "have different results"),
    ("leaderboard", "--format", "latex"): (0, "have different results"),
    ("classes", "ce"): (0, "have different results"),
    ("classes", "focal"): (2, "rm results/records/{focal}-*.json && ltbench 'run;' touch"),
    ("status",): (0, "skipped: results/plans/broken.json is not a plan of ltbench"),
    ("show", record_of("ce").id): (0, "have different results"),
    ("verify",): (1, "npz are not those of the record"),
    ("verify", "--retrain"): (1, "npz are not those of the record"),
    ("compare", "results", "results"): (0, "have different results"),
    ("clean",): (0, "trained networks"),
    ("clean", "--delete", "stages,checkpoints,temporary"): (0, "deleted 1 files of kind stages"),
    ("sync",): (2, "results/tracking-id is not an identifier of ltbench"),
    ("sync", "--models"): (2, "results/tracking-id is not an identifier of ltbench"),
    ("ui", "--port", "5679"): (2, "results/tracking-id is not an identifier of ltbench"),
    ("export", record_of("ce").id, "-o", "results/new-model"): (2, "the record's command cannot be repeated"),
    ("export", "--best", "-o", "results/new-model"): (2, "no method is recommended"),
    ("predict", "results/model", "results/pictures/b/0.png"): (2, "results/model is not a folder of ltbench export"),
    ("report", "-o", "results/page.html"): (2, "npz are not those of the record"),
    ("ls", "suites"): (0, ""),
    ("ls", "methods"): (0, "mine.py: SystemExit: 0"),
    ("new", "yours", "--methods-dir", "results/methods"): (0, "yours"),
    ("check", "mine"): (1, "SystemExit"),
    ("data", "check", IMAGES): (2, "cannot be read"),
    ("data", "prepare", IMAGES): (2, "cannot be read"),
    ("slurm", "--shards", "2", "--", "--suite", "results/suite.toml"): (0, "#SBATCH --array=1-2"),
    ("nightly", "--history", "--folder", "results"): (0, r"[/red]\x1b]0;owned"),
    (*NIGHT, "--suite", "results/suite.toml"): (1, "mine.py: SystemExit: 0"),
    ("run", *FAST, "--methods", "ce,mine", "--no-tracking"): (1, "mine.py: SystemExit: 0"),
    ("run", *FAST, "--methods", "ce", "--tuned", "--no-tracking"): (2, "is not a journal of a study"),
    ("tune", *FAST[:2], "--methods", "mine", "--trials", "1", "--no-tracking"): (2, "mine.py: SystemExit: 0"),
}
RUN_METHODS = ("ls methods", "check", "run", "tune", "new", "nightly --no-speed")


def test_every_command_is_tried() -> None:
    tried = {words[: 2 if words[0] == "data" else 1] for words in COMMANDS}
    assert tried == set(dict(commands(get_command(app))))


SLOW = ("run", "report", "export", "nightly", "verify", "sync", "ui", "predict")


def marked(words: tuple[str, ...]) -> object:
    return pytest.param(words, marks=[pytest.mark.slow] * (words[0] in SLOW))


@pytest.mark.parametrize("words", [marked(words) for words in COMMANDS], ids=lambda words: " ".join(words[:3]))
@fault("Hostile folder", "hostile records, plans, stages, studies, database, links, texts and method file at once")
def test_every_command_on_a_hostile_folder(attack: Attack, words: tuple[str, ...]) -> None:
    outside = plant()
    answer = attack(*words)
    status, says = COMMANDS[words]
    attack.shown(answer, status, says.format(focal=record_of("focal").id))
    assert "\x1b" not in answer.out + answer.err
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert (outside / "victim").read_text() == "mine"
    assert Path("results/ran").exists() == " ".join(words).startswith(RUN_METHODS)
