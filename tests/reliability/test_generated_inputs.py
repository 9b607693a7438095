"""Inputs that hypothesis makes up: no traceback, nothing written outside, memory bounded.

Each family has 10 examples by default, 50 more with the marker ``slow``, and 2,000 with the marker ``long``.
"""

import contextlib
import gzip
import io
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltbench.cli import main
from ltbench.data.folder import read
from ltbench.data.listed import collected
from ltbench.errors import InputError
from ltbench.method.contract import Method, Stage
from ltbench.method.valid import check
from ltbench.plan.recipe import Recipe
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner import checkpoint
from ltbench.tuning.journal import studies
from tests.made import as_planned, made_record

COUNTS = (10, pytest.param(50, marks=pytest.mark.slow), pytest.param(2_000, marks=pytest.mark.long))
QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
MOST_KIB = 2 << 20
"""What a test may need beside the memory that the process has: everything that is imported, and images."""
ODD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ODD, st.lists(st.integers(), max_size=3), st.just({})
)
NUMBERS = st.one_of(st.integers().map(str), st.floats().map(str), ODD)
FIELDS = sorted(Recipe.model_fields)


def examples(strategy: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], object]:
    """A test that is run with each number of examples."""

    def both(test: Callable[..., None]) -> object:
        @pytest.mark.parametrize("count", COUNTS)
        def run(count: int) -> None:
            before = most_memory(reset=True)
            settings(max_examples=count, **QUIET)(given(strategy)(test))()
            assert most_memory() - before < MOST_KIB

        return run

    return both


@pytest.fixture(autouse=True)
def one_gibibyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 1 GiB, half of which resized images may take."""
    real = os.sysconf
    pages = (1 << 30) // real("SC_PAGE_SIZE")
    monkeypatch.setattr(os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else real(name))


def most_memory(reset: bool = False) -> int:
    """The largest memory of this process so far in KiB, or since the last reset; 0 where Linux does not tell."""
    if not (where := Path("/proc/self/clear_refs")).exists():
        return 0
    if reset:
        where.write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def outside() -> set[Path]:
    """Everything in the working folder."""
    return set(Path().rglob("*"))


def called(*words: str) -> str:
    """Run the command line: it must end with a status of its own, without a traceback, and write nothing."""
    before, streams = outside(), (io.StringIO(), io.StringIO())
    old, sys.argv = sys.argv, ["ltbench", *words]
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            main()
    except SystemExit as end:
        assert end.code in (0, 1, 2, None)
    finally:
        sys.argv = old
    assert outside() == before
    return streams[0].getvalue() + streams[1].getvalue()


PLANNED = st.one_of(
    st.tuples(st.just("--set"), st.builds(lambda f, v: f"recipe.{f}={v}", st.sampled_from(FIELDS), NUMBERS)),
    st.tuples(st.just("--set"), st.builds(lambda k, v: f"{k}={v}", ODD, ODD)),
    st.tuples(st.sampled_from(["--seeds", "--subset-seeds", "--imbalance", "--shard", "--recipe"]), NUMBERS),
    st.tuples(st.sampled_from(["--methods", "--datasets", "--data", "--suite", "--methods-dir", "--results"]), ODD),
)


@examples(st.lists(PLANNED, min_size=1, max_size=2))
def test_words_of_the_command_line(pairs: list[tuple[str, str]]) -> None:
    backbones = ("recipe.backbone=", "recipe.pretrained=", "recipe.frozen=")  # they may download
    if not any(value.startswith(backbones) or value.startswith(("hf:", "~")) for _, value in pairs):
        called("run", "--dry-run", "--methods", "ce", *(word for pair in pairs for word in pair))


KEYS = ("datasets", "imbalance", "methods", "after", "seeds", "subset_seed", "holdout", "profile", "as_published", "x")
TOML = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ['"ce"', '["digits"]', "[1, 2]", '["exp:20"]', "{}", "[]", "true", '""', "1979-05-27", "[[1], {a = 2}]"]
    ),
)


@examples(st.dictionaries(st.sampled_from(KEYS), TOML, max_size=4))
def test_suites(content: dict[str, str]) -> None:
    Path("suite.toml").write_text("\n".join(f"{key} = {value}" for key, value in content.items()))
    called("run", "--dry-run", "--methods", "ce", "--suite", "suite.toml")


@examples(st.binary(max_size=60))
def test_suites_of_any_bytes(content: bytes) -> None:
    Path("suite.toml").write_bytes(content)
    called("run", "--dry-run", "--suite", "suite.toml")


@examples(st.dictionaries(st.sampled_from(sorted(Record.model_fields)), VALUES, min_size=1, max_size=2))
def test_records(changes: dict[str, object]) -> None:
    shutil.rmtree("results", ignore_errors=True)
    made_record(Store("results"), "ce")
    (path,) = Path("results/records").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    for words in (("status",), ("leaderboard",)):
        called(*words)


ATTRIBUTES = [name for name in vars(Method) if name in Method.__annotations__]
STAGE = list(Stage.__dataclass_fields__)


@examples(st.tuples(st.sampled_from(ATTRIBUTES), st.sampled_from(STAGE), VALUES, VALUES))
def test_class_attributes_and_stages(drawn: tuple[str, str, object, object]) -> None:
    attribute, field, value, of_stage = drawn
    made = type("Made", (Method,), {attribute: value, "stages": lambda self: (Stage(**{field: of_stage}),)})
    with contextlib.suppress(InputError):
        check(made)


@examples(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=80)), min_size=1, max_size=4))
def test_image_folders(images: list[tuple[str, bytes]]) -> None:
    shutil.rmtree("images", ignore_errors=True)
    for number, (label, content) in enumerate(images):
        (Path("images") / label).mkdir(parents=True, exist_ok=True)
        (Path("images") / label / f"{number}.png").write_bytes(content)
    with contextlib.suppress(InputError):
        read(Path("images"), "x", None, Path("cache"))


@examples(
    st.tuples(st.sampled_from(["list", "csv", "inaturalist"]), st.one_of(st.binary(max_size=60), ODD.map(str.encode)))
)
def test_lists_and_tables(drawn: tuple[str, bytes]) -> None:
    kind, content = drawn
    Path("file.txt").write_bytes(content)
    with contextlib.suppress(InputError):
        collected(kind, "file.txt")


ANY = st.binary(max_size=60)


def altered(content: bytes, change: tuple[int, bytes]) -> bytes:
    """A file's content in which a piece was replaced."""
    at, piece = change
    return content[: at % len(content)] + piece + content[at % len(content) + len(piece) :]


@examples(st.dictionaries(st.sampled_from(["created", "suite", "cells", "x"]), VALUES, min_size=1, max_size=2))
def test_plans(changes: dict[str, object]) -> None:
    store = Store("results")
    cell = as_planned(made_record(store, "ce"))
    store.add_plan("made", {"suite": "quickstart", "cells": [cell]})
    path = Path("results/plans/made.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    called("status")
    path.unlink()


@examples(st.tuples(st.integers(0), ANY))
def test_stages(change: tuple[int, bytes]) -> None:
    file = checkpoint.StageFile(Path("results/stages/abc.pt"), torch.device("cpu"), 0.0)
    state = {name: torch.arange(3) for name in checkpoint.KEYS}
    file.save(state)
    whole = file.path.read_bytes()
    file.path.write_bytes(altered(whole, change))
    with contextlib.redirect_stderr(io.StringIO()):
        found = file.load()
    assert found is None or file.path.read_bytes() == whole


@examples(st.one_of(ANY, st.lists(VALUES, max_size=3).map(lambda lines: "\n".join(map(json.dumps, lines)).encode())))
def test_journals(content: bytes) -> None:
    journal = Path("results/tuning/studies/made.journal")
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes(b'{"facts": ' + content)
    with contextlib.redirect_stderr(io.StringIO()):
        studies("results")
    called("run", "--tuned", "--dry-run", "--methods", "ce")


@examples(st.tuples(st.sampled_from(["cifar10", "cifar100", "fashion-mnist"]), st.integers(0), ANY))
def test_archives(drawn: tuple[str, int, bytes]) -> None:
    dataset, *change = drawn
    Path("archive").mkdir(exist_ok=True)
    with tarfile.open("archive/made.tar.gz", "w:gz") as tar:
        for name in ("cifar-10-batches-py/data_batch_1", "cifar-100-python/train", "../outside"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    whole = altered(Path("archive/made.tar.gz").read_bytes(), (change[0], change[1]))
    for name in ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz"):
        (Path("archive") / name).write_bytes(whole)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (Path("archive") / f"{name}-ubyte.gz").write_bytes(gzip.compress(change[1]))
    called("run", "--dry-run", "--methods", "ce", "--datasets", dataset, "--data", f"{dataset}=archive")
