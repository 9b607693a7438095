"""The site of the documents, opened as files without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.test_site import ROOT, build

pytestmark = pytest.mark.browser
PAGES = ("index", "adding-a-method", "methods", "tutorial", "reported", "peers", "statistics", "source/methods/crt.py")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def reader(quiet_page: Page) -> Iterator[Page]:
    """A quiet page without network, whose test fails where it asks for anything but files."""
    asked: list[str] = []
    quiet_page.context.set_offline(True)
    quiet_page.on("request", lambda request: asked.append(request.url))
    yield quiet_page
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_without_a_network_also_on_a_phone(site: Path, reader: Page, name: str) -> None:
    for width in (1280, 390):
        reader.set_viewport_size({"width": width, "height": 900})
        reader.goto((site / f"{name}.html").as_uri())
        assert reader.locator("article h1").first.is_visible()
        assert reader.evaluate("document.documentElement.scrollWidth") <= width


def test_the_search_finds_a_method_in_pages_that_are_opened_as_files(site: Path, reader: Page) -> None:
    reader.goto((site / "index.html").as_uri())
    reader.locator("input[name=query]").click()
    reader.keyboard.type("balanced softmax")
    reader.locator(".md-search-result__item a[href*='methods.html']").first.wait_for(timeout=30_000)
