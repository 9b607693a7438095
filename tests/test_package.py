"""The installed package in an empty folder, and the code and commands of the README."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.metadata import Metadata

from ltbench import __version__
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


@pytest.mark.slow
def test_the_wheel_of_the_sdist_works_in_a_fresh_environment_with_a_dropped_in_method(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], check=True, cwd=ROOT)
    with tarfile.open(tmp_path / f"ltbench-{__version__}.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    source = tmp_path / f"ltbench-{__version__}"
    assert all((source / name).exists() for name in ("tests", "docs", "mkdocs.yml", "CHANGELOG.md", "LICENSE"))
    subprocess.run([*build, "-t", "wheel"], check=True, cwd=source)

    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "fresh")], check=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    wheel = str(next(tmp_path.glob("*.whl")))
    with zipfile.ZipFile(wheel) as packed:
        metadata = Metadata.from_email(packed.read(f"ltbench-{__version__}.dist-info/METADATA"))  # raises if not valid
    assert (str(metadata.version), metadata.description_content_type) == (__version__, "text/markdown")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel], check=True)
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    fresh = Path(subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip())
    (fresh / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # those installed here, to save an hour

    Path("methods").mkdir()
    Path("methods/mine.py").write_text(method_in_the_readme())
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(tmp_path / "fresh" / "bin" / "ltbench"), "run", *FAST, "--methods", "ce,mine"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert {"ce", "mine"} <= set(done.stdout.split())
    find = [python, "-c", "import ltbench; print(ltbench.__file__)"]
    where = subprocess.run(find, capture_output=True, text=True, env=environment)
    assert Path(where.stdout.strip()).is_relative_to(fresh)


def test_the_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml")), ids=lambda f: f.stem)
def test_a_form_for_issues_has_what_the_code_host_asks_for(form: Path) -> None:
    read = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= read.keys()
    assert all(field["attributes"]["label"] for field in read["body"])
    ids = [field["id"] for field in read["body"]]
    assert len(ids) == len(set(ids)) > 1


def method_in_the_readme() -> str:
    return next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "class Mine" in block)


def test_the_method_in_the_readme_runs(ltbench: Callable[..., Answer]) -> None:
    code = method_in_the_readme()
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
    (command,) = re.findall(r"^python3 -m venv .*pytest -n logical$", README, re.M)
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
    assert command.count("&&") == 2
