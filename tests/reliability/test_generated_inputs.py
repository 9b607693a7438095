"""Inputs that hypothesis makes up: no traceback, nothing written outside, whatever the words, suites, files or methods.

Each family has a few dozen examples by default, and 2,000 with the marker ``long``.
"""

import contextlib
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
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
from tests.made import made_record

FEW, MANY = 20, 2_000
QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
ODD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ODD, st.lists(st.integers(), max_size=3), st.just({})
)
NUMBERS = st.one_of(st.integers().map(str), st.floats().map(str), ODD)
FIELDS = sorted(Recipe.model_fields)


def examples(strategy: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], object]:
    """A test that is run with few examples, and one with many behind the marker ``long``."""

    def both(test: Callable[..., None]) -> object:
        @pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
        def run(count: int) -> None:
            settings(max_examples=count, **QUIET)(given(strategy)(test))()

        return run

    return both


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
    import json

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
