"""Our own MLflow database: made again where it is damaged or was moved, refused where it leads outside its folder.

Who gives away a results folder gives away its database too. The addresses in it decide where MLflow reads and writes
files, and whom it calls.
"""

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from ltbench.errors import InputError

ADDRESSES = ("artifact_uri", "artifact_location", "storage_location", "trace_archival_location", "source", "url")
"""Columns of MLflow's tables that hold addresses. ``source`` of other tables than ``model_versions`` is a name."""

TRACES = "SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'"


def artifacts(ours: Path) -> str:
    """The address of our artifacts."""
    return (ours / "artifacts").as_uri()


def check(ours: Path) -> None:
    """Remove a database that is damaged, or that was moved here with its folder: a sync makes it again.

    Raises:
        InputError: where the database, or a link in its folder, leads to another place.
    """
    fix = f"remove {ours}, then run ltbench sync to create it again"
    for path in _below(ours):
        if path.is_symlink():
            raise InputError(f"{path} is a link, and MLflow would follow it; {fix}")
    database = ours / "mlflow.db"
    if not database.exists():
        return
    if not database.is_file():
        raise InputError(f"{database} is not a file; {fix}")
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            if _hidden(connection):
                raise InputError(f"{database} changes addresses by itself (a trigger or a view); {fix}")
            places = list(_places(connection))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            shutil.rmtree(ours)
        return
    outside = [place for place in places if not _inside(place, artifacts(ours))]
    if outside and len(before := {_folder_of(place) for place in places}) == 1 and None not in before:
        shutil.rmtree(ours)
    elif outside:
        raise InputError(f"{database} leads outside its folder, to {outside[0]}; {fix}")


def prepare(ours: Path) -> None:
    """Create our database if there is none."""
    from mlflow import MlflowClient

    database = ours / "mlflow.db"
    if not database.exists():
        ours.mkdir(parents=True, exist_ok=True)
        unfinished = ours / "unfinished.db"
        unfinished.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{unfinished}").search_experiments()
        unfinished.replace(database)


def _below(ours: Path) -> Iterator[Path]:
    """A folder and everything in it."""
    yield ours
    for folder, folders, files in os.walk(ours):
        yield from (Path(folder, name) for name in (*folders, *files))


def _hidden(connection: sqlite3.Connection) -> bool:
    """Whether the database has a view, or a trigger that names an address: MLflow has neither."""
    rules = connection.execute("SELECT type, lower(sql) FROM sqlite_master WHERE type IN ('view', 'trigger')")
    return any(kind == "view" or any(name in str(sql) for name in ADDRESSES) for kind, sql in rules)


def _places(connection: sqlite3.Connection) -> Iterator[str]:
    """Every address in the database, but for that of MLflow's own empty experiment, which nothing is written to."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "trace_tags" in tables:
        yield from (place for (place,) in connection.execute(TRACES))
    columns = "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
    for table, column in connection.execute(columns).fetchall():
        if column in ADDRESSES and (column != "source" or table == "model_versions"):
            but = " AND NOT (experiment_id = 0 AND name = 'Default')" if table == "experiments" else ""
            quoted = table.replace('"', '""')
            found = connection.execute(f'SELECT "{column}" FROM "{quoted}" WHERE "{column}" != \'\'{but}')
            yield from (str(place) for (place,) in found)


def _inside(place: str, base: str) -> bool:
    """Whether an address is that of our artifacts, of a part of them, or of a model that MLflow finds there."""
    return (place == base or place.startswith((f"{base}/", "models:/"))) and not _climbs(place)


def _folder_of(place: str) -> str | None:
    """The folder whose artifacts an address is of; None where it cannot be one of ours."""
    found = re.fullmatch(r"(file:///.*/mlflow)/artifacts(/.*)?", place)
    return found[1] if found and not _climbs(place) else None


def _climbs(place: str) -> bool:
    return ".." in unquote(place)
