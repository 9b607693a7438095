"""MLflow's own pages in a real browser: the leaderboard, a run's plots, a comparison."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

import ltbench
from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from ltbench.tracking.sync import pages, sync
from ltbench.tracking.ui import HOST, serving
from tests.browser import mlflow_pages

pytestmark = pytest.mark.browser
METHODS = ["ce", "crt", "tau_norm", "class_balanced_sampling"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("browsed") / "results"
    changes = {"recipe.epochs": 3, "recipe.evaluate_every": 1}
    ltbench.run(methods=METHODS, imbalance=[100, 20], seeds=2, changes=changes, results=results)
    sync(Store(results))
    return results


@pytest.fixture(scope="module")
def urls(results: Path) -> Iterator[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with serving(Store(results), port):
        yield pages(Store(results), f"http://{HOST}:{port}")["quickstart"]


@pytest.fixture
def local_page(page: Page) -> Iterator[Page]:
    """A page whose test fails where it asks another machine for anything."""
    asked: set[str | None] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    yield page
    assert asked <= {HOST, None}


def table_of(urls: dict[str, str], imbalance: str) -> str:
    return next(url for name, url in urls.items() if f"imbalance {imbalance} " in name)


@pytest.mark.parametrize("imbalance", ["100", "20"])
def test_the_leaderboard_opens_sorted(local_page: Page, urls: dict[str, str], results: Path, imbalance: str) -> None:
    local_page.set_viewport_size({"width": 2400, "height": 900})  # MLflow draws only the columns in sight
    mlflow_pages.open_view(local_page, table_of(urls, imbalance))
    board = leaderboard(load_results(results))
    expected = board[board.imbalance == imbalance]
    found = mlflow_pages.shown_rows(local_page)
    assert [value for _, value in found] == pytest.approx(sorted(expected.balanced_accuracy, reverse=True), abs=1e-9)
    assert dict(found) == pytest.approx(dict(zip(expected.method, expected.balanced_accuracy, strict=True)), abs=1e-9)
    for column in ("test/many", "test/medium", "test/few", "test/ece", "standing"):
        assert local_page.get_by_test_id(f"sort-header-{column}").is_visible()


def test_all_tables_and_the_seeds_by_method(local_page: Page, urls: dict[str, str]) -> None:
    mlflow_pages.open_view(local_page, urls["Leaderboard"])
    found = mlflow_pages.shown_rows(local_page)
    assert len(found) == 8
    assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)
    local_page.goto("about:blank")
    mlflow_pages.open_view(local_page, urls["Seeds"])
    assert local_page.get_by_text(re.compile("^Group: ")).count() > 0


def test_a_run_shows_its_curves_and_the_plots_of_its_table(local_page: Page, urls: dict[str, str]) -> None:
    mlflow_pages.open_view(local_page, table_of(urls, "100"))
    mlflow_pages.open_run(local_page, "crt")
    of_method = local_page.url
    mlflow_pages.open_table(local_page, "digits · imbalance 100")
    mlflow_pages.open_artifact(local_page, "per_class.png")
    assert min(mlflow_pages.shown_image(local_page)) > 300
    local_page.goto(of_method)
    local_page.get_by_role("link", name=re.compile("crt .* seed 0")).click()
    mlflow_pages.open_curves(local_page, "loss")
    points = local_page.locator(".js-plotly-plot .scatterlayer path.js-line")
    points.first.wait_for(state="attached")
    assert points.first.get_attribute("d")


def test_two_methods_are_compared(local_page: Page, urls: dict[str, str], results: Path) -> None:
    mlflow_pages.open_view(local_page, table_of(urls, "100"))
    mlflow_pages.compare(local_page, ["ce", "crt"])
    board = leaderboard(load_results(results))
    for method in ("ce", "crt"):
        value = board[(board.imbalance == "100") & (board.method == method)].balanced_accuracy.item()
        local_page.locator("svg text", has_text=f"{value:.4f}"[:-1]).first.wait_for(state="attached")
