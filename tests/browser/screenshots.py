"""The pictures of the documentation: ``python -m tests.browser.screenshots RESULTS [FOLDER]``.

RESULTS is a results folder of the quickstart suite, FOLDER where the pictures go (``docs/images``).
"""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from ltbench.results.store import Store
from ltbench.show.page import write_report
from ltbench.tracking.sync import pages, sync
from ltbench.tracking.ui import HOST, serving
from tests.browser import mlflow_pages
from tests.browser.chromium import launched

WIDTH = 1280
PORT = 5017
ROOT = Path(__file__).parent.parent.parent
SITE = {"start": "index.html", "methods": "methods.html", "reported": "reported.html"}
"""Pages of the site, by the name of the picture."""


def report(browser: Browser, results: Path, folder: Path) -> None:
    """The top of the report of a results folder."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "report.html"
        write_report(results, file)
        context = browser.new_context(offline=True, viewport={"width": WIDTH, "height": 1165}, color_scheme="light")
        page = context.new_page()
        page.goto(file.as_uri())
        page.screenshot(path=folder / "report.png")
        context.close()


def mlflow(browser: Browser, results: Path, folder: Path) -> None:
    """The leaderboard, a run's curves and plots, and two methods compared, on MLflow's pages."""
    store = Store(results)
    sync(store)
    with serving(store, PORT):
        urls = next(iter(pages(store, f"http://{HOST}:{PORT}").values()))
        url = list(urls.values())[1]
        page = browser.new_context(viewport={"width": 1500, "height": 800}, color_scheme="light").new_page()

        def shot(name: str) -> None:
            page.wait_for_timeout(2000)
            image = Image.open(io.BytesIO(page.screenshot()))
            image.quantize(128).save(folder / f"mlflow-{name}.png", optimize=True)

        mlflow_pages.open_view(page, url)
        shot("leaderboard")
        mlflow_pages.open_run(page, "ce")
        of_ce = page.url
        mlflow_pages.open_table(page, "digits · imbalance 100")
        mlflow_pages.open_artifact(page, "per_class.png")
        mlflow_pages.shown_image(page)
        shot("artifacts")
        page.goto(of_ce)
        page.get_by_role("link", name=re.compile("ce .* seed 0")).click()
        mlflow_pages.open_curves(page, "loss")
        page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
        shot("curves")
        mlflow_pages.open_view(page, url)
        mlflow_pages.compare(page, ["ce", "crt"])
        shot("comparison")


def site(browser: Browser, folder: Path) -> None:
    """Three pages of the site of the documents, which is built in a folder of its own."""
    with tempfile.TemporaryDirectory() as built:
        subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", built], cwd=ROOT, check=True)
        context = browser.new_context(offline=True, viewport={"width": WIDTH, "height": 800}, color_scheme="light")
        page = context.new_page()
        for name, file in SITE.items():
            page.goto((Path(built) / file).as_uri())
            page.wait_for_timeout(1000)
            image = Image.open(io.BytesIO(page.screenshot()))
            image.quantize(128).save(folder / f"site-{name}.png", optimize=True)
        context.close()


def main(results: str, folder: str = "docs/images") -> None:
    """Take them all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        report(browser, Path(results), Path(folder))
        mlflow(browser, Path(results), Path(folder))
        site(browser, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
