"""The report in a browser: from disk, without network, sorted and filtered by clicks."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ltbench.results.leaderboard import leaderboard, load_results
from ltbench.results.store import Store
from ltbench.show.page import write_report
from tests.made import made_failure, made_store

pytestmark = pytest.mark.browser
METHODS = {"ce": 1.0, "ce_drw": 1.2, "balanced_softmax": 1.4, "ldam(max_margin=0.3)": 1.5, "crt": 2.0, "<b>x</b>": 0.2}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = made_store(tmp_path_factory.mktemp("report") / "results", METHODS, ("100", "20"))
    made_failure(store, "broken")
    return store


@pytest.fixture(scope="module")
def file(store: Store) -> Path:
    file = store.root.parent / "report.html"
    write_report(store.root, file)
    return file


@pytest.fixture
def report(offline_page: Page, file: Path) -> Page:
    offline_page.goto(file.as_uri())
    return offline_page


def methods(page: Page, table: str = "digits-100") -> list[str]:
    """The methods of a table that can be seen, from above."""
    return page.locator(f"#{table}-board tbody:visible th").all_inner_texts()


def test_a_heading_sorts_by_its_numbers_and_failures_stay_below(report: Page, store: Store) -> None:
    board = leaderboard(load_results(store.root))
    part = board[board.imbalance == "100"]
    assert methods(report) == part.method.tolist()
    other = methods(report, "digits-20")
    for heading, column in (("ECE", "ece"), ("few", "few"), ("train", "train_seconds")):
        for ascending in (False, True):
            report.locator("#digits-100-board").get_by_role("button", name=heading, exact=True).click()
            ranked = part.sort_values(column, ascending=ascending, kind="stable", na_position="last")
            found = methods(report)
            assert part.set_index("method")[column][found].tolist()[:-1] == ranked[column].tolist()[:-1]
            assert found[-1] == "broken"
            direction = report.locator("#digits-100-board th[aria-sort]")
            assert direction.get_attribute("aria-sort") == ("ascending" if ascending else "descending")
    assert methods(report, "digits-20") == other


def test_names_sort_as_words(report: Page) -> None:
    report.locator("#digits-20-board").get_by_role("button", name="method", exact=True).click()
    names = methods(report, "digits-20")
    plain = [name for name in names if name[0].isalpha()]
    assert plain == sorted(plain)


def test_the_filter_takes_beginnings_of_words(report: Page) -> None:
    report.get_by_role("searchbox").fill("ce")
    assert sorted(methods(report)) == ["ce", "ce_drw"]
    assert report.get_by_role("status").inner_text() == "2 of 7 methods"
    report.get_by_role("searchbox").fill("ldam, soft")
    assert (
        sorted(methods(report)) == sorted(methods(report, "digits-20")) == ["balanced_softmax", "ldam(max_margin=0.3)"]
    )
    report.get_by_role("searchbox").fill("")
    assert len(methods(report)) == 7


def test_sorting_keeps_the_filter(report: Page) -> None:
    report.get_by_role("searchbox").fill("ce")
    report.locator("#digits-100-board").get_by_role("button", name="NLL", exact=True).click()
    assert sorted(methods(report)) == ["ce", "ce_drw"]


def test_one_table_is_chosen(report: Page) -> None:
    report.get_by_role("combobox").select_option(label="digits · imbalance 20 · recipe digits")
    assert methods(report) == []
    assert len(methods(report, "digits-20")) == 6
    assert report.locator("svg:visible").count() == 8
    report.get_by_role("combobox").select_option(label="all")
    assert len(methods(report)) == 7


def test_a_name_opens_its_seeds_and_commands(report: Page, store: Store) -> None:
    commands = {record.command for record in store.latest().values() if record.imbalance == "100"}
    body = report.locator("#digits-100-board tbody", has_text="crt")
    button = body.get_by_role("button", name="crt")
    assert body.locator("code:visible").count() == 0
    button.click()
    shown = body.locator("code:visible").all_inner_texts()
    assert len(shown) == 3
    assert set(shown) <= commands
    report.locator("#digits-100-board").get_by_role("button", name="Brier", exact=True).click()
    assert body.locator("code:visible").all_inner_texts() == shown
    button.click()
    assert body.locator("code:visible").count() == 0


def test_everything_fits_a_window_of_1280_pixels(report: Page) -> None:
    assert report.evaluate("document.documentElement.scrollWidth") <= 1280
    for figure in report.locator("figure svg").all():
        box = figure.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["x"] + box["width"] <= 1280
        outside = figure.evaluate(
            """svg => { const edge = svg.getBoundingClientRect(); return [...svg.querySelectorAll("text")].filter(t => {
                const box = t.getBoundingClientRect();
                return box.left < edge.left - 2 || box.right > edge.right + 2 || box.top < edge.top - 2
                    || box.bottom > edge.bottom + 2; }).map(t => t.textContent); }"""
        )
        assert outside == []


def test_plots_have_names_and_follow_the_colours_of_the_system(report: Page) -> None:
    assert report.get_by_role("img", name="Balanced accuracy", exact=True).count() == 2
    colour = "getComputedStyle(document.querySelector('svg text')).fill"
    report.emulate_media(color_scheme="light")
    light = report.evaluate(colour)
    report.emulate_media(color_scheme="dark")
    assert (light, report.evaluate(colour)) == ("rgb(26, 26, 26)", "rgb(232, 232, 232)")


LONG = "digits[epochs=20,batch_size=128,evaluate_every=5,augment=randaugment,label_smoothing=0.1,weight_decay=0.0005]"


@pytest.fixture(scope="module")
def long_names(tmp_path_factory) -> Path:
    """A page whose recipe and methods have long names."""
    names = {"ce": 1.0, "logit_adjustment_posthoc(strength=0.75)": 1.5, "ensemble_balanced_softmax": 2.0}
    store = made_store(tmp_path_factory.mktemp("long") / "results", names, recipe=LONG)
    file = store.root.parent / "report.html"
    write_report(store.root, file)
    return file


def test_the_address_has_the_view_and_opens_it_again(report: Page, browser: Browser) -> None:
    report.get_by_role("combobox").select_option(label="digits · imbalance 20 · recipe digits")
    report.get_by_role("searchbox").fill("ldam, soft")
    report.locator("#digits-20-board").get_by_role("button", name="few", exact=True).click()
    report.locator("#digits-20-board").get_by_role("button", name="few", exact=True).click()
    found = methods(report, "digits-20")
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.goto(report.url)
    assert methods(other) == []
    assert methods(other, "digits-20") == found == ["balanced_softmax", "ldam(max_margin=0.3)"]
    assert other.get_by_role("searchbox").input_value() == "ldam, soft"
    assert other.locator("#digits-20-board th[aria-sort]").get_attribute("aria-sort") == "ascending"
    other.get_by_role("searchbox").fill("")
    other.get_by_role("combobox").select_option(label="all")
    assert "few" in other.url  # the sorting stays
    other.goto(report.url.partition("#")[0] + "#table=gone&sort=gone:few:ascending&sort=digits-20-board:few:sideways")
    assert len(methods(other)) == 7
    other.close()


def test_a_name_in_the_address_leads_to_its_part(report: Page) -> None:
    report.get_by_role("link", name="environment").click()
    assert report.url.endswith("#environment")
    assert len(methods(report)) == 7


@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_window_scrolls_only_tables_and_figures(offline_page: Page, long_names: Path, width: int) -> None:
    offline_page.set_viewport_size({"width": width, "height": 844})
    offline_page.goto(long_names.as_uri())
    assert offline_page.evaluate("document.documentElement.scrollWidth") == width
    heading = offline_page.locator("h2").first.bounding_box()
    assert heading is not None
    assert heading["x"] + heading["width"] <= width
    sizes = offline_page.evaluate(
        """[...document.querySelectorAll('figure svg text')].map(text => text.getBoundingClientRect().height)"""
    )
    assert min(sizes) > 5


def test_accuracy_against_cost_comes_first(report: Page) -> None:
    first = report.locator("section").first.locator("figure, table").first
    assert first.get_attribute("id") == "digits-100-cost"
    assert report.locator("figure#digits-100-cost").count() == 1
    box = first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] / 2 < 900  # on the first screen


@pytest.mark.parametrize("made", ["file", "long_names"])
def test_print_has_every_column_on_few_pages(offline_page: Page, made: str, request: pytest.FixtureRequest) -> None:
    offline_page.goto(request.getfixturevalue(made).as_uri())
    offline_page.emulate_media(media="print")
    offline_page.set_viewport_size({"width": 1054, "height": 730})  # A4 landscape less the margins
    cut = offline_page.evaluate(
        """[...document.querySelectorAll('.wide')].filter(one => one.checkVisibility() && one.scrollWidth > 1054)
            .map(one => one.firstElementChild.id)"""
    )
    assert cut == []
    pages = len(re.findall(rb"/Type\s*/Page[^s]", offline_page.pdf(prefer_css_page_size=True)))
    assert 1 <= pages <= 6
