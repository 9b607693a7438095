"""The help of the command line, and what is imported to print it."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import ltbench as package
from ltbench.cli import app
from tests.conftest import Answer

Cli = Callable[..., Answer]


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words: ``("data", "check")``."""
    for name, command in group.commands.items():
        yield from commands(command, (*words, name)) if hasattr(command, "commands") else [((*words, name), command)]


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples_that_it_understands(words: tuple[str, ...]) -> None:
    examples = [line for line in (COMMANDS[words].epilog or "").splitlines() if "ltbench" in line]
    assert any(shlex.split(line)[1 : 1 + len(words)] == list(words) for line in examples)
    for line in examples:
        asked = shlex.split(line.partition(" > ")[0], comments=True)[1:]
        known = tuple(asked[:2]) if tuple(asked[:2]) in COMMANDS else tuple(asked[:1])
        COMMANDS[known].make_context("ltbench", asked[len(known) :])  # raises for an option that does not exist


def test_every_option_is_explained_in_plain_words() -> None:
    odd = re.compile(r"\b(told|tells?|mends?|lies?|anew|of it|left out|leaves? out|by itself)\b")
    for words, command in COMMANDS.items():
        texts = {option.name: option.help for option in command.params if not getattr(option, "hidden", False)}
        for name, text in (texts | {"": command.help}).items():
            assert text, (words, name)
            assert not odd.search(text), (words, text)


@pytest.mark.parametrize("words", [(), ("run",), ("data", "check"), ("ls",)])
def test_h_is_help(ltbench: Cli, words: tuple[str, ...]) -> None:
    answer = ltbench(*words, "-h")
    assert answer.status == 0
    assert answer.out == ltbench(*words, "--help").out
    assert "Usage: " in answer.out


def test_a_shell_completes_commands_and_options() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    asked = {"_LTBENCH_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'ltbench'; from ltbench.cli import app; app(prog_name='ltbench')"
    for typed, place, expected in (("ltbench le", "1", "leaderboard"), ("ltbench run --meth", "2", "--methods")):
        words = environment | asked | {"COMP_WORDS": typed, "COMP_CWORD": place}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=words)
        assert expected in done.stdout.split(), done.stderr


def test_commands_and_the_options_of_run_are_in_groups(ltbench: Cli) -> None:
    out = ltbench("--help").out
    panels = [out.index(f"─ {panel} ─") for panel in ("Run", "Results", "Methods and data", "MLflow")]
    assert panels == sorted(panels)
    out = ltbench("run", "--help").out
    panels = [out.index(f"─ {panel} ─") for panel in ("What to run", "Machine", "Folders and output")]
    assert panels == sorted(panels)
    assert "Examples" in out


@pytest.mark.parametrize("words", [["--help"], ["status"], ["leaderboard"], ["ls", "suites"]])
def test_what_needs_no_torch_does_not_import_it(ltbench: Cli, some_results: None, words: list[str]) -> None:
    code = (
        "import sys; from ltbench.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'mlflow', 'optuna', 'ray', 'matplotlib', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, ltbench.cli\n"
        "print(*{'torch', 'numpy', 'pandas', 'scipy', 'mlflow', 'pydantic', 'rich.table'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("\n", "")
