import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltbench.errors import InputError
from ltbench.results.files import write_whole
from ltbench.results.record import Record
from ltbench.results.store import Store
from tests.made import made_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def done(tmp_path: Path) -> Record:
    return made_record(Store(tmp_path / "elsewhere"), "ce")


def attempt(done: Record, cell: str, **changes: Any) -> Record:
    """An attempt at a cell: finished, or failed where a reason is given."""
    failed = {"result": None} if changes.get("reason") else {}
    return Record.model_validate(done.model_dump(exclude={"created"}) | {"id": cell} | failed | changes)


def test_a_record_is_kept_under_its_own_name_and_never_rewritten(store: Store, done: Record) -> None:
    store.add(attempt(done, "abc", reason="x"))
    first = next((store.root / "records").iterdir())
    content = first.read_bytes()
    store.add(attempt(done, "abc"))
    assert first.read_bytes() == content
    assert len(store.attempts()) == 2
    assert store.latest()["abc"].status == "done"


def test_a_failure_never_supersedes_a_result(store: Store, done: Record) -> None:
    store.add(attempt(done, "abc"))
    store.add(attempt(done, "abc", reason="x"))
    store.add(attempt(done, "abd", reason="first"))
    store.add(attempt(done, "abd", reason="second"))
    assert store.latest()["abc"].status == "done"
    assert store.latest()["abd"].reason == "second"
    assert set(store.latest("abc")) == {"abc"}


def test_folders_merge_by_plain_copying(tmp_path: Path, done: Record) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    one.add(attempt(done, "abc"))
    other.add(attempt(done, "abc", reason="x"))
    other.add(attempt(done, "abd"))
    for path in (other.root / "records").iterdir():
        (one.root / "records" / path.name).write_bytes(path.read_bytes())
    assert {cell: record.status for cell, record in one.latest().items()} == {"abc": "done", "abd": "done"}


def test_what_is_written_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, b"before")

    def die(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_half_written_is_not_read(store: Store, done: Record) -> None:
    store.add(attempt(done, "abc"))
    (store.root / "records" / ".123.tmp").write_text('{"id": "abd", "sta')
    assert set(store.latest()) == {"abc"}


def test_foreign_files_and_newer_formats_are_named(store: Store, done: Record) -> None:
    store.add(attempt(done, "abc"))
    path = next((store.root / "records").iterdir())
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="newer ltbench"):
        store.latest()
    path.write_text("{")
    with pytest.raises(InputError, match=f"{path.name} is not a record"):
        store.latest()


def test_arrays_come_back(store: Store, done: Record) -> None:
    digest = store.write_arrays("abc", {"logits": np.ones((3, 2), np.float16), "labels": np.arange(3)})
    result = done.finished.model_copy(update={"arrays": digest})
    found = store.arrays(done.model_copy(update={"id": "abc", "result": result}))
    assert found["logits"].dtype == np.float16
    assert found["labels"].tolist() == [0, 1, 2]


def test_a_lock_is_held_by_one(store: Store) -> None:
    lock = store.try_lock("abc")
    assert lock is not None
    assert store.is_locked("abc")
    assert store.try_lock("abc") is None
    lock.release()
    assert not store.is_locked("abc")
    assert not store.is_locked("never taken")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*--results"):
        Store(tmp_path / "file" / "results").prepare()
