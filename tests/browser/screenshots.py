"""The pictures of the documentation: ``python -m tests.browser.screenshots RESULTS [FOLDER]``.

RESULTS is a results folder of the quickstart suite, FOLDER where the pictures go (``docs/images``).
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from ltbench.report import write_report
from tests.browser.chromium import launched

WIDTH = 1280


def report(browser: Browser, results: Path, folder: Path) -> None:
    """The top of the report of a results folder."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "report.html"
        write_report(results, file)
        context = browser.new_context(offline=True, viewport={"width": WIDTH, "height": 1460}, color_scheme="light")
        page = context.new_page()
        page.goto(file.as_uri())
        page.screenshot(path=folder / "report.png")
        context.close()


def main(results: str, folder: str = "docs/images") -> None:
    """Take them all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        report(browser, Path(results), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
