"""MLflow databases and links that lead outside the results folder: refused before MLflow sees them."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.results.store import Store
from ltbench.tracking.own_database import artifacts
from tests.made import made_record
from tests.reliability.attack import Attack, fault

COMMANDS = (("sync",), ("ui", "--port", "5678"))
TABLES = """
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT);
CREATE TABLE experiment_tags (experiment_id INTEGER, key TEXT, value TEXT);
CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, artifact_uri TEXT);
CREATE TABLE logged_models (model_id TEXT, artifact_location TEXT);
CREATE TABLE webhooks (url TEXT);
CREATE TABLE trace_tags (key TEXT, value TEXT);
INSERT INTO experiments VALUES (0, 'Default', '/somewhere/mlruns/0'), (1, 'quickstart', '{base}');
INSERT INTO experiment_tags VALUES (1, 'ltbench', 'results');
INSERT INTO runs VALUES ('a', 1, '{base}/a/artifacts'), ('b', 1, '{base}/b/artifacts');
"""


def database() -> Path:
    """A database as a sync leaves it, without the tables that no test changes."""
    made_record(Store("results"), "ce")
    ours = Path("results/mlflow").resolve()
    (ours / "artifacts" / "a" / "artifacts").mkdir(parents=True)
    with sqlite3.connect(ours / "mlflow.db") as connection:
        connection.executescript(TABLES.format(base=artifacts(ours)))
    connection.close()
    return ours / "mlflow.db"


def refused(attack: Attack, words: tuple[str, ...], says: str) -> None:
    outside = Path("../outside").resolve()
    outside.mkdir()
    attack.shown(attack(*words), 2, says)
    assert list(outside.iterdir()) == []


EDITS = {
    "a run in another folder": ("UPDATE runs SET artifact_uri = 'file://{outside}' WHERE run_uuid = 'b'", "file://…"),
    "a run on a stranger's server": (
        "UPDATE runs SET artifact_uri = 'http://192.0.2.1/x' WHERE run_uuid = 'b'",
        "http",
    ),
    "a run one folder up": ("UPDATE runs SET artifact_uri = artifact_uri || '/%2e%2e/%2E./../../..'", "file://"),
    "an experiment in another folder": ("UPDATE experiments SET artifact_location = 'file://{outside}'", "file://"),
    "the default experiment as a suite": (
        "UPDATE experiments SET name = 'x' WHERE experiment_id = 0",
        "/",
    ),
    "a model": ("INSERT INTO logged_models VALUES ('m', 's3://bucket/m')", "s3://bucket/m"),
    "a webhook": ("INSERT INTO webhooks VALUES ('https://192.0.2.1')", "https://192.0.2.1"),
    "a trace": ("INSERT INTO trace_tags VALUES ('mlflow.artifactLocation', 'file:///etc')", "file:///etc"),
}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("edit", EDITS)
@fault("MLflow", "a stranger's mlflow.db with an edited address")
def test_an_edited_address(attack: Attack, words: tuple[str, ...], edit: str) -> None:
    sql, says = EDITS[edit]
    with sqlite3.connect(database()) as connection:
        connection.execute(sql.format(outside=Path("../outside").resolve()))
    connection.close()
    refused(attack, words, f"mlflow.db leads outside its folder, to {says.removesuffix('…')}")


HIDDEN = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET artifact_uri = 'file:///tmp'; END",
    "view": "DROP TABLE webhooks; CREATE VIEW webhooks AS SELECT 'https://192.0.2.1' AS url",
}


@pytest.mark.parametrize("how", HIDDEN)
@fault("MLflow", "a stranger's mlflow.db with a trigger or a view that changes addresses later")
def test_a_trigger(attack: Attack, how: str) -> None:
    with sqlite3.connect(database()) as connection:
        connection.executescript(HIDDEN[how])
    connection.close()
    refused(attack, ("sync",), "changes addresses by itself (a trigger or a view)")


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("make", [to_folder, to_pipe])
@fault("MLflow", "mlflow.db is a folder or a pipe")
def test_a_folder_in_place_of_the_database(attack: Attack, make: Callable[[Path], None]) -> None:
    make(database())
    refused(attack, ("sync",), "mlflow.db is not a file; remove")


LINKS = ("mlflow", "mlflow/mlflow.db", "mlflow/artifacts", "mlflow/artifacts/a", "mlflow/artifacts/a/artifacts/x.png")


@pytest.mark.parametrize("link", LINKS)
@fault("MLflow", "a link to another place in the folder of MLflow")
def test_a_link(attack: Attack, link: str) -> None:
    database()
    path = Path("results", link)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(Path("../outside").resolve())
    refused(attack, ("sync",), "is a link, and MLflow would follow it; remove")


@pytest.mark.slow
@fault("MLflow", "a results folder that was moved with its database")
def test_a_moved_database_is_made_again(attack: Attack) -> None:
    with sqlite3.connect(database()) as connection:
        connection.execute("UPDATE runs SET artifact_uri = 'file:///old/results/mlflow/artifacts/' || run_uuid")
        connection.execute("UPDATE experiments SET artifact_location = 'file:///old/results/mlflow/artifacts'")
    connection.close()
    attack.shown(attack.process("sync"), 0, "3 new, 0 changed, 0 deleted")
