"""The way of a new method: `ltbench new`, `ltbench check`, and the page that explains it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.check import CHECKS
from tests.conftest import FAST, Answer

Cli = Callable[..., Answer]
ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# methods/(\w+)\.py\n(.*?)```", PAGE, re.S))


def statuses(answer: Answer, name: str) -> dict[str, str]:
    return {row["check"]: row["status"] for row in json.loads(answer.out)[name]}


def test_a_new_method_passes_its_checks_runs_and_stands_in_the_table(ltbench: Cli) -> None:
    answer = ltbench("new", "my_idea")
    assert answer.status == 0
    assert Path("methods/my_idea.py").is_file()
    assert "ltbench check my_idea\n" in answer.out
    assert "ltbench run --methods ce,my_idea\n" in answer.out
    checked = ltbench("check", "my_idea")
    assert checked.status == 0
    assert all(check.name in checked.out for check in CHECKS)
    assert "on a pretended GPU" in checked.out
    ran = ltbench("run", *FAST, "--methods", "ce,my_idea")
    assert ran.status == 0
    assert "my_idea" in ran.out


@pytest.mark.parametrize("name", ["my_idea", "method", "range", "x"])
def test_what_new_writes_is_short_and_clean(ltbench: Cli, name: str) -> None:
    assert ltbench("new", name, "--methods-dir", "somewhere/else").status == 0
    text = Path(f"somewhere/else/{name}.py").read_text()
    assert 25 <= len(text.splitlines()) <= 45
    assert "Deviation" in text
    assert "$" not in text
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", f"methods/{name}.py", "-"]
        done = subprocess.run(ruff, input=text, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = ltbench("ls", "methods", "--methods-dir", "somewhere/else")
    assert re.search(rf"^{name} ", listed.out, re.M)
    assert "left out" not in listed.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2x", "cannot be the name"),
        ("my-idea", "cannot be the name"),
        ("class", "cannot be the name"),
        ("_x", "cannot be the name"),
        ("a/b", "cannot be the name"),
        ("ce", "method 'ce' exists already"),
        ("there", "there.py exists already"),
    ],
)
def test_new_refuses_what_it_cannot_write(ltbench: Cli, name: str, said: str) -> None:
    Path("methods").mkdir()
    Path("methods/there.py").write_text("kept = 1\n")
    answer = ltbench("new", name)
    assert answer.status == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert [path.name for path in Path("methods").glob("*.py")] == ["there.py"]
    assert Path("methods/there.py").read_text() == "kept = 1\n"


def test_new_refuses_a_folder_that_is_a_file(ltbench: Cli) -> None:
    Path("methods").write_text("")
    answer = ltbench("new", "my_idea")
    assert answer.status == 2
    assert "methods is not a folder" in answer.err


def test_a_file_anywhere_is_checked_and_may_come_after_a_known_method(ltbench: Cli) -> None:
    Path("far").mkdir()
    Path("far/retrained.py").write_text(EXAMPLES["retrained"])
    answer = ltbench("check", "far/retrained.py", "--json")
    assert answer.status == 0
    found = statuses(answer, "retrained")
    assert list(found) == [check.name for check in CHECKS]
    assert set(found.values()) == {"passed"}


def test_what_fails_is_told_and_the_status_is_1(ltbench: Cli) -> None:
    broken = EXAMPLES["prior_shift"].replace("class PriorShift(Method):", "class PriorShift(Method):\n    cost = 3.0")
    Path("prior_shift.py").write_text(broken)
    Path("wrong.py").write_text("import no_such_module\n")
    answer = ltbench("check", "prior_shift.py", "wrong.py", "--json")
    assert answer.status == 1
    assert [c for c, status in statuses(answer, "prior_shift").items() if status == "failed"] == ["cost"]
    (row,) = json.loads(answer.out)["wrong"]
    assert (row["check"], row["status"]) == ("imports", "failed")
    assert "No module named 'no_such_module'" in row["why"]
    table = ltbench("check", "wrong.py")
    assert table.status == 1
    assert "✗" in table.out


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("ldma_drw", "did you mean 'ldam_drw'"),
        ("nowhere.py", "file nowhere.py does not exist"),
        ("no/where", "file no/where does not exist"),
        ("notes.txt", "notes.txt is not a Python file"),
    ],
)
def test_check_refuses_what_is_no_method(ltbench: Cli, target: str, said: str) -> None:
    Path("notes.txt").write_text("")
    answer = ltbench("check", target)
    assert answer.status == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_page_pass(ltbench: Cli, name: str) -> None:
    Path("methods").mkdir()
    Path(f"methods/{name}.py").write_text(EXAMPLES[name])
    answer = ltbench("check", name)
    assert answer.status == 0, answer.out


def test_the_page_shows_nine_shapes_and_only_what_exists() -> None:
    from ltbench import Method, Stage
    from ltbench.cli import app

    assert len(EXAMPLES) == 9
    from typer.main import get_command

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|`)ltbench ([a-z]+)", PAGE, re.M))
    assert {"new", "check", "run"} <= named <= known
    rows = re.findall(r"^\| ([^|]+) \|", PAGE, re.M)
    assert [row for row in rows if row in {check.name for check in CHECKS}] == [check.name for check in CHECKS]
    hooks = {row.split("(")[0].strip("`") for row in rows if re.match(r"`[a-z_]+\(", row)}
    assert {"stages", "setup", "noise", "loss", "predict", "rebuild", "build_head", "build_memory"} <= hooks
    assert all(hasattr(Method, hook) for hook in hooks)
    for field in re.findall(r"Stage\((\w+)=", PAGE):
        assert field in Stage.__dataclass_fields__
