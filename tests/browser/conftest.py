"""A real browser for the tests marked ``browser``."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import executable, launched


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip("no chromium on PATH")
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of 1280 pixels."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def quiet_page(page: Page) -> Iterator[Page]:
    """A page whose test fails where it writes an error or a warning to the console."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    assert said == []


@pytest.fixture
def offline_page(quiet_page: Page) -> Iterator[Page]:
    """A quiet page without network, whose test fails where it asks for anything but its own file."""
    asked: list[str] = []
    quiet_page.context.set_offline(True)
    quiet_page.on("request", lambda request: asked.append(request.url))
    yield quiet_page
    others = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert others == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
