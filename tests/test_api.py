"""``ltbench.run``: the command line's main job from Python."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ltbench as package
from ltbench.cli.run import run as command
from ltbench.results.store import Store
from tests.conftest import Answer

SCRIPT = """
import ltbench

print("begin")
cells = ltbench.run(methods=["ce", "focal"], imbalance=[20], seeds=1, workers=2, changes={"recipe.epochs": 1})
print(*cells.status)
"""


def test_from_python(ltbench: Callable[..., Answer]) -> None:
    cells = package.run(
        methods=["ce", "focal"],
        imbalance=[20],
        seeds=2,
        changes={"recipe.epochs": 1, "focal.gamma": 2.0},
        results="out",
    )
    assert len(cells) == 4
    assert set(cells.status) == {"done"}
    board = package.leaderboard(package.load_results("out"))
    assert set(board.method) == {"ce", "focal(gamma=2.0)"}
    assert board.balanced_accuracy.is_monotonic_decreasing


def test_the_function_has_the_defaults_of_the_command() -> None:
    ours, theirs = (
        {name: parameter.default for name, parameter in inspect.signature(one).parameters.items()}
        for one in (package.run, command)
    )
    renamed = {"set_": "changes", "checkpoint_every": "checkpoint_every_s", "methods_dir": "methods_dirs"}
    shared = {renamed.get(name, name): value for name, value in theirs.items()}
    of_the_terminal = {"dry_run", "shard", "tracking", "as_json"}
    assert shared.keys() - ours.keys() == of_the_terminal
    assert ours.keys() <= shared.keys()
    for name, value in ours.items():
        assert str(value or None) == str(shared[name] or None), name


@pytest.mark.slow
def test_a_script_without_a_guard_can_use_several_processes() -> None:
    Path("script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, env=environment)
    assert done.stdout == "begin\ndone done\n", done.stderr
    assert len(Store("results").latest()) == 2
