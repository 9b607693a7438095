"""What a user does on MLflow's pages, for the tests and the screenshots."""

import re

from playwright.sync_api import Page

MAIN_METRIC = "metrics.`test/balanced_accuracy`"
IMAGE = "[...document.images].find(image => image.src.includes('get-artifact') || image.src.startsWith('blob:'))"
QUIET = """
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
"""


def open_view(page: Page, url: str) -> None:
    """Open a view and wait for its rows."""
    page.add_init_script(QUIET)
    page.goto(url)
    page.wait_for_selector(f".ag-row [col-id='{MAIN_METRIC}']")


def shown_rows(page: Page) -> list[tuple[str, float]]:
    """Name and main metric of each row on the screen, from top to bottom."""
    rows = page.evaluate(
        """metric => {
            const found = {};
            for (const row of document.querySelectorAll('.ag-row')) {
                const index = Number(row.getAttribute('row-index'));
                const name = row.querySelector("[col-id='attributes.`Run Name`'] a");
                const value = row.querySelector(`[col-id='${metric}']`);
                found[index] = [name ? name.innerText.trim() : found[index]?.[0],
                                value ? Number(value.innerText) : found[index]?.[1]];
            }
            return Object.keys(found).map(Number).sort((a, b) => a - b).map(index => found[index]);
        }""",
        MAIN_METRIC,
    )
    return [(name, value) for name, value in rows]


def open_run(page: Page, name: str) -> None:
    """Open the run of this name from the table."""
    page.locator(".ag-row").get_by_role("link", name=name, exact=True).first.click()
    page.get_by_text("About this run").wait_for()


def open_table(page: Page, name: str) -> None:
    """From the run of a method to the run of its table, whose name begins so."""
    of_method = page.url
    page.get_by_role("link", name=re.compile(f"^{re.escape(name)}")).click()
    page.wait_for_url(lambda url: url != of_method)
    page.get_by_text("About this run").wait_for()


def open_curves(page: Page, pattern: str) -> None:
    """From a run to the plots of its metrics whose names match."""
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill(pattern)
    page.wait_for_selector(".js-plotly-plot .main-svg")


def open_artifact(page: Page, name: str) -> None:
    """From a run to one of its files."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text(name, exact=True).first.click()


def shown_image(page: Page) -> tuple[int, int]:
    """Width and height of the image that is open."""
    page.wait_for_function(f"({IMAGE})?.complete && ({IMAGE}).naturalWidth > 0")
    width, height = page.evaluate(f"[({IMAGE}).naturalWidth, ({IMAGE}).naturalHeight]")
    return width, height


def compare(page: Page, names: list[str]) -> None:
    """Select runs in the table and compare them."""
    for name in names:
        row = page.locator(".ag-row", has=page.get_by_role("link", name=name, exact=True)).first
        index = row.get_attribute("row-index")
        page.locator(f".ag-row[row-index='{index}'] input[type=checkbox]").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_url("**/compare-runs**")
    page.get_by_text(f"Comparing {len(names)} Runs").first.wait_for()
