"""The site of the documents: MkDocs builds it without a warning, and it is readable without a network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(root / "mkdocs.yml"), "-d", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The documents and what they link to, in a folder that may be spoilt."""
    root = tmp_path / "repository"
    for name in ("docs", "methods", "results", "ltbench", "tests", "benchmarks", ".github"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml", ROOT / "LICENSE"]:
        shutil.copy(file, root)
    return root


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_the_internet(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    texts = {page.relative_to(tmp_path / "site").as_posix(): page.read_text() for page in pages}
    assert {"index.html", "methods.html", "tutorial.html", "results/your-images.html"} <= texts.keys()
    assert "Stage 2 freezes" in re.sub(r"<[^>]*>", "", texts["source/methods/crt.py.html"])
    loaded = (
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?https?:[^>]*>|<link\b[^>]*\bstylesheet[^>]*\bhttps?:[^>]*>"
    )
    assert {name: found for name, text in texts.items() if (found := re.findall(loaded, text))} == {}


def test_a_new_page_is_in_the_navigation_and_a_link_to_nothing_is_an_error(copy: Path, tmp_path: Path) -> None:
    (copy / "docs" / "new_page.md").write_text("# A new page\n\n[a method](../methods/ce.py), [start](../README.md)\n")
    done = build(copy, tmp_path / "good")
    assert done.returncode == 0, done.stderr
    assert 'href="new_page.html"' in (tmp_path / "good" / "index.html").read_text()
    (copy / "docs" / "new_page.md").write_text(
        "# A new page\n\n[a](nothing.md) [b](../methods/nothing.py) [c](data.md#nothing) [d](../README.md#nothing)\n"
    )
    done = build(copy, tmp_path / "bad")
    assert done.returncode == 1
    for link in ("nothing.md", "methods/nothing.py", "data.md#nothing", "index.md#nothing"):
        assert re.search(rf"WARNING.*{link}", done.stderr), link
