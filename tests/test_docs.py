"""README, ARCHITECTURE and docs: every link and every file that they name exists."""

import ast
import re
from pathlib import Path

import pytest

from ltbench import __version__
from tests.test_architecture import ROOMS

ROOT = Path(__file__).parent.parent
TOP = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("ltbench", "methods", "tests", "benchmarks", "docs")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in (link for link in links if not re.match(r"\w+:", link)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]+\.(?:py|md|toml|png)", page.read_text())
    invented = {"methods/mine.py", "methods/my_idea.py", *re.findall(r"^# (methods/\w+\.py)$", page.read_text(), re.M)}
    assert [name for name in named if name not in invented and not (ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    todo, seen = [ROOT / "README.md"], set[Path]()
    while todo:
        page = todo.pop().resolve()
        if page not in seen:
            seen.add(page)
            links = re.findall(r"\]\(([^):#\s]+\.md)", page.read_text())
            todo += [page.parent / link for link in links]
    assert {page.resolve() for page in PAGES} <= seen


def test_the_readme_is_short_and_names_the_version_and_every_method() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    assert f"version = {{{__version__}}}" in text
    table = text[text.index("| family | methods |") :]
    assert [file.stem for file in (ROOT / "methods").glob("*.py") if not re.search(rf"\b{file.stem}\b", table)] == []


def names_in(file: Path) -> set[str]:
    """The functions, classes, constants and methods (``Class.method``) that a file defines."""
    found = set[str]()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_the_walks_through_the_code_name_what_exists() -> None:
    lines = re.findall(r"^(\w[\w/]*\.py) +(.*)$", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    assert len(lines) > 10
    for file, names in lines:
        assert set(names.split(", ")) <= names_in(ROOT / "ltbench" / file), file


def test_the_rooms_are_those_of_the_import_rule() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("| room |")[2].partition("**Import rule")[0]
    rooms = [room for first in re.findall(r"^\| (`.*?) \|", table, re.M) for room in re.findall(r"`(\w+)`", first)]
    assert rooms == list(ROOMS)
