"""Terminals, pipes, names of files and encodings that are not as usual."""

import subprocess
import sys
from pathlib import Path

import pytest

from ltbench.runner import environment
from tests.conftest import Answer
from tests.reliability.attack import Attack, fault

LONG = 300 * "x"
DRY = ("run", "--dry-run", "--methods", "ce")


@pytest.mark.parametrize(
    "words",
    [
        (*DRY, "--results", LONG),
        (*DRY, "--suite", LONG),
        (*DRY, "--methods-dir", LONG),
        (*DRY, "--datasets", f"imagefolder:{LONG}"),
        (*DRY, "--datasets", "cifar10", "--data", f"cifar10={LONG}"),
        ("new", LONG),
        ("status", "--results", LONG),
    ],
    ids=["results", "suite", "methods", "images", "data", "new", "status"],
)
@fault("Terminal and files", "a name of more than 255 bytes")
def test_a_name_of_more_than_255_bytes(attack: Attack, words: tuple[str, ...]) -> None:
    attack.shown(attack(*words), 2, "File name too long")


@pytest.mark.parametrize(
    "words",
    [
        ("--datasets", "imagefolder:~nobody-here/x"),
        ("--datasets", "csv:~nobody-here/x.csv"),
        ("--datasets", "cifar10", "--data", "cifar10=~nobody-here/x"),
        ("--set", "recipe.pretrained=~nobody-here/x.safetensors"),
    ],
    ids=["folder", "table", "data", "weights"],
)
@fault("Terminal and files", "a path of a user who does not exist")
def test_a_user_who_does_not_exist(attack: Attack, words: tuple[str, ...]) -> None:
    attack.shown(attack(*DRY, *words), 2, "there is no such user")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "x"), OSError(28, "No space left")])
@fault("Terminal and files", "a file that cannot be read or written in a place where nothing expects it")
def test_an_error_of_the_system(attack: Attack, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    _fails(monkeypatch, error)
    attack.shown(attack("ls", "suites"), 1, f"ltbench: {error.strerror}")


@fault("Terminal and files", "no memory left")
def test_no_memory_left(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails(monkeypatch, MemoryError())
    attack.shown(attack("ls", "suites"), 1, "ltbench: there is not enough memory")


@fault("Terminal and files", "a file that is not UTF-8 in a place where nothing expects it")
def test_a_text_in_another_encoding(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails(monkeypatch, UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"))
    attack.shown(attack("ls", "suites"), 1, "save the file as UTF-8")


def test_a_bug_is_seen(ltbench: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("network"), EOFError()):
        _fails(monkeypatch, error)
        monkeypatch.setattr(sys, "argv", ["ltbench", "ls", "suites"])
        with pytest.raises(RuntimeError if isinstance(error, EOFError) else KeyError):
            from ltbench.cli import main

            main()


@pytest.mark.slow
@fault("Terminal and files", "the reader of a pipe is gone, as after | head -1")
def test_a_closed_pipe(attack: Attack) -> None:
    with attack.started("ls", "methods") as running:
        running.stdout.close()
        err = running.stderr.read()
    assert not err
    attack.shown(Answer(running.wait(), "", ""), 1, "")


@pytest.mark.slow
@fault("Terminal and files", "stdout is closed from the start, as after >&-")
def test_no_stdout(attack: Attack) -> None:
    attack.words = ("ls", "suites")
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "ltbench", *attack.words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=_environment())
    attack.shown(Answer(done.returncode, "", done.stderr), 0, "")


@pytest.mark.slow
@fault("Terminal and files", "stdout is a full disk")
def test_a_full_disk_as_stdout(attack: Attack) -> None:
    attack.words = ("ls", "methods")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ltbench", *attack.words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=_environment())
    assert done.stderr.count("\n") == 1
    attack.shown(Answer(done.returncode, "", done.stderr), 1, "ltbench: No space left on device")


@pytest.mark.slow
@fault("Terminal and files", "LC_ALL=C, and an encoding that has no stars")
def test_an_ascii_terminal(attack: Attack) -> None:
    answer = attack.process("ls", "recipes", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert answer.err == ""
    attack.shown(answer, 0, "ldam")


@fault("Terminal and files", "ltbench is installed inside another project's repository")
def test_the_revision_is_not_that_of_a_surrounding_repository(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "project" / "venv" / "ltbench" / "runner"
    inside.mkdir(parents=True)
    git = ("git", "-C", str(tmp_path / "project"), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    monkeypatch.setattr(environment, "__file__", str(inside / "environment.py"))
    assert environment._revision.__wrapped__() is None
    attack.shown(attack("ls", "suites"), 0, "quickstart")


def _fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make ``ltbench ls`` fail in the middle."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ltbench.cli.methods._listing", fail)


def _environment() -> dict[str, str]:
    import os

    from tests.reliability.attack import ROOT

    return {**os.environ, "PYTHONPATH": str(ROOT)}
