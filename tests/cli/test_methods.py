"""Methods of the user's own on the command line, and the lists of names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FAST, MINE, Answer, records

Cli = Callable[..., Answer]


def test_ls_names_everything(ltbench: Cli) -> None:
    assert {"ce", "crt"} <= set(json.loads(ltbench("ls", "methods", "--json").out))
    assert {"quickstart", "cifar100-lt"} <= set(json.loads(ltbench("ls", "suites", "--json").out))
    assert {"digits", "imagefolder:PATH"} <= set(json.loads(ltbench("ls", "datasets", "--json").out))
    assert {"resnet32_cifar", "resnet50"} <= set(json.loads(ltbench("ls", "backbones", "--json").out))


def test_a_method_of_twenty_lines_stands_in_the_table(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "ce")
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    assert "Cross-entropy at a temperature." in ltbench("ls", "methods").out
    answer = ltbench("run", *FAST, "--methods", "ce,mine")
    assert answer.status == 0
    assert "1 done, 1 to do" in answer.err
    assert "mine" in answer.out
    tuned = ltbench("run", *FAST, "--methods", "mine", "--set", "mine.temperature=3")
    assert "mine(temperature=3.0)" in tuned.out


def test_editing_a_method_makes_only_its_results_stale(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    ltbench("run", *FAST, "--methods", "ce,mine")
    Path("methods/mine.py").write_text(MINE.replace("2.0, 0.5", "1.5, 0.5"))
    assert "2 cells under recipe digits[epochs=2], 1 done, 1 to do" in ltbench("run", *FAST, "--methods", "ce,mine").err
    board = json.loads(ltbench("leaderboard", "--json").out)
    assert sorted(row["method"] for row in board) == ["ce", "mine"]
    status = json.loads(ltbench("status", "--json").out)
    assert sorted((cell["method"], cell["state"]) for cell in status) == [("ce", "done"), ("mine", "done")]


@pytest.mark.parametrize(("asked", "status"), [("*", 0), ("ce,mine", 1)])
def test_a_broken_file_is_named_and_the_rest_runs(ltbench: Cli, asked: str, status: int) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE + "\nundefined_name\n")
    answer = ltbench("run", *FAST, "--methods", asked)
    assert answer.status == status
    lines = [line for line in answer.err.splitlines() if "mine.py" in line]
    assert len(lines) == 1
    assert "NameError: name 'undefined_name' is not defined" in lines[0]
    assert "ce" in {record.method for record in records().values()}


def test_a_method_defined_twice_is_refused_with_both_files(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/ce.py").write_text(MINE)
    answer = ltbench("run", *FAST)
    assert answer.status == 2
    assert "method 'ce' is defined twice" in answer.err
    assert answer.err.count("ce.py") == 2
    assert not Path("results").exists()


def test_ls_lists_the_names_that_match(ltbench: Cli) -> None:
    assert set(json.loads(ltbench("ls", "suites", "cifar*", "--json").out)) == {"cifar10-lt", "cifar100-lt"}
    answer = ltbench("ls", "methods", "nothing*")
    assert answer.status == 2
    assert "no name in methods matches 'nothing*'; list all with ltbench ls methods" in answer.err
