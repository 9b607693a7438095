"""The installed package in an empty folder, and the code and commands of the README."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_the_gpu_check_runs_in_its_tiny_form() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--tiny", "--device", "cpu", "--out", "out"]
    subprocess.run(command, check=True, env=environment)
    report = json.loads(Path("out/gpu_check.json").read_text())
    assert report["errors"] == {}
    assert [row["ran"] for row in report["step_times"]] == ["eager", "eager"]
    assert report["long_run"]["evaluations"] == 1
    assert report["skipped"] == {}
    assert [row["runs"] for row in report["together"]] == [1, 2]
    assert [row["loss_difference"] for row in report["together"]] == [0.0, 0.0]
    assert {row["met"] for row in report["targets"]} == {"not measured"}
    assert "| fp32 | eager | eager |" in Path("out/gpu_check.md").read_text()


def test_the_gpu_check_leaves_out_what_does_not_fit_and_goes_on_after_a_failure() -> None:
    from benchmarks.gpu_check import Part, measure

    report: dict[str, Any] = {"errors": {}, "skipped": {}}
    parts = [Part("long", 100, lambda: 1), Part("broken", 1, lambda: 1 / 0), Part("short", 1, lambda: 2)]
    measure(parts, report, 10, lambda: None)
    assert report["skipped"] == {"long": "100 s expected, 10 s left"}
    assert report["errors"] == {"broken": "ZeroDivisionError: division by zero"}
    assert report["short"] == 2


def test_the_targets_are_read_from_a_report() -> None:
    from benchmarks.targets import verdicts

    steps = [{"precision": "fp32", "ran": tier, "ms_per_step": ms} for tier, ms in (("eager", 5.0), ("graph", 1.25))]
    together = [{"runs": n, "ran": ["graph"], "steps_per_second": speed} for n, speed in ((1, 800.0), (8, 2000.0))]
    run = {"epochs": 200, "evaluations": 20, "tier": "graph", "seconds": 31.0, "peak_memory_bytes": 5e8}
    rows = verdicts({"step_times": steps, "together": together, "long_run": run, "evaluation_seconds": 0.02})
    assert [row["met"] for row in rows] == ["must", "aim", "missed", "must", "aim"]
    assert [row["measured"] for row in rows] == [4.0, 2.5, 31.0, 0.5, pytest.approx(108 * (8.5 + 0.4) / 60)]
