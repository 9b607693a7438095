"""The installed package in an empty folder, and the code and commands of the README."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.cli import app
from tests.conftest import FAST, Answer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_an_ordinary_install_works_from_an_empty_folder(tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, str(ROOT)], check=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "ltbench", "run", *FAST, "--methods", "ce,crt"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "crt" in done.stdout
    listed = subprocess.run([*command[:3], "ls", "suites"], capture_output=True, text=True, env=environment)
    assert "cifar100-lt" in listed.stdout
    subprocess.run([*command[:3], "report"], check=True, env=environment)
    assert "sortBy" in Path("report.html").read_text()
    assert (site / "ltbench" / "py.typed").is_file()


def test_the_method_in_the_readme_runs(ltbench: Callable[..., Answer]) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "class Mine" in block)
    assert len(code.splitlines()) <= 22
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(code)
    assert ltbench("run", *FAST, "--methods", "ce").status == 0
    ran = ltbench("run", *FAST, "--methods", "mine")
    assert ran.status == 0
    assert "1 to do" in ran.err
    board = ltbench("leaderboard", "--format", "markdown").out
    assert board.count("**digits") == 1
    assert {"ce", "mine"} <= set(re.findall(r"\| (\w+) \|", board))


def test_the_python_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "ltbench.run(" in block)
    exec(code.replace("imbalance=[100]", "imbalance=[100], seeds=1").replace("0.3}", "0.3, 'recipe.epochs': 1}"), {})


def test_every_command_in_the_readme_exists() -> None:
    from typer.main import get_command

    known = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|[`/])ltbench ([a-z]+)", README, re.M))
    assert named
    assert named <= set(known)


def test_the_command_that_ci_runs_is_the_readmes() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.M)
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
    assert command.count("&&") == 2
