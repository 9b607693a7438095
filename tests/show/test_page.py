"""The report: its numbers are the leaderboard's, whatever the methods are called, and it needs nothing but itself."""

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ltbench.plan.cell import Link
from ltbench.plan.recipe import Recipe
from ltbench.results.across_tables import ranks_by_setting
from ltbench.results.classes import class_reports
from ltbench.results.decoupling import decoupling
from ltbench.results.leaderboard import TABLE, leaderboard, load_results
from ltbench.results.record import StageLosses
from ltbench.results.store import Store
from ltbench.show.classes import recall_texts
from ltbench.show.columns import COLUMNS
from ltbench.show.page import write_report
from ltbench.show.tables import decoupling_grids
from tests.made import EACH, as_planned, chosen, made_failure, made_record, made_store, record_of

HOSTILE = ["<b>", '"><script>alert(1)</script>', "{{ 7 * 7 }}", "$a_b$", "a & b", "l'autre"]
SHOWN = {"balanced_accuracy", "balanced_error", "many", "medium", "few", "macro_f1", "ece", "nll", "brier"}
SHOWN |= {"train_seconds", "relative_cost", "seeds", "worst_class", "harmonic_mean"}
SHOWN |= {"difference_to_ce", "p_to_ce", "p_to_best"}


@dataclass
class Cell:
    key: str
    value: str
    text: str = ""


@dataclass
class Page(HTMLParser):
    """What a page holds, as a browser would see it."""

    html: str
    ids: list[str] = field(default_factory=list)
    tags: Counter = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, list[Cell]]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.table = self.method = ""
        self.cell: Cell | None = None
        self.feed(self.html)

    def handle_starttag(self, tag, attributes) -> None:
        given = dict(attributes)
        self.tags[tag] += 1
        self.ids += [given["id"]] if "id" in given else []
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag == "table":
            self.table = given["id"]
            self.tables[self.table] = {}
        elif tag == "tbody":
            self.method = given.get("data-method", "")
            self.tables[self.table][self.method] = []
        elif tag in ("td", "th") and "data-value" in given:
            self.cell = Cell(given.get("data-key", ""), given["data-value"])
            self.tables[self.table][self.method].append(self.cell)

    def handle_endtag(self, tag) -> None:
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data) -> None:
        self.texts.append(data)
        if self.cell is not None:
            self.cell.text += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report_of(store: Store, **options) -> Page:
    file = store.root.parent / "report.html"
    write_report(store.root, file, **options)
    return Page(file.read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    root = tmp_path_factory.mktemp("report") / "results"
    store = made_store(root, {"ce": 1.0, "ldam(max_margin=0.3)": 1.5, "crt": 2.0}, ("100", "20"))
    made_record(store, "alone", "100")
    made_failure(store, "broken", "100", reason="the loss is <nan>")
    made_failure(store, "crt", "100", seed=3)
    return store


@pytest.fixture(scope="module")
def page(store: Store) -> Page:
    return report_of(store)


def test_every_number_is_the_leaderboards(store: Store, page: Page) -> None:
    board = leaderboard(load_results(store.root))
    for key, (_, part) in zip(("digits-100", "digits-20"), board.groupby(TABLE, sort=False), strict=True):
        assert list(page.tables[f"{key}-board"]) == part.method.tolist()
        for row in part.to_dict("records"):
            method, *cells = page.tables[f"{key}-board"][row["method"]]
            assert method.text.strip() == row["method"]
            for cell in cells:
                if row["seeds"] or cell.key == "seeds":
                    column = next(column for column in COLUMNS if column.key == cell.key)
                    assert cell.text == column.text(row)
                    assert (cell.value == "") if pd.isna(row[cell.key]) else (float(cell.value) == row[cell.key])
            assert {cell.key for cell in cells} == SHOWN


def test_numbers_are_written_as_in_the_terminal(store: Store, page: Page) -> None:
    row = leaderboard(load_results(store.root)).iloc[0]
    texts = {cell.key: cell.text for cell in page.tables["digits-100-board"][row.method]}
    assert texts["balanced_accuracy"] == f"{row.balanced_accuracy:.1f} ± {row.interval:.1f}"
    assert texts["nll"] == f"{row.nll:.2f}"
    assert texts["seeds"] == "3 of 4"


def test_one_seed_and_failures_are_shown_as_such(page: Page) -> None:
    board = page.tables["digits-100-board"]
    assert board["alone"][1].text.endswith("†")
    assert [cell.text for cell in board["broken"]][1] == "failed"
    assert board["broken"][-1].text == "0 of 1"
    assert "failed : the loss is <nan>" in page.text
    assert "2 failed" in page.text


def test_every_number_has_its_command_and_environment(store: Store, page: Page) -> None:
    for record in store.latest().values():
        assert f"cell {record.id}" in page.text
        assert record.command in page.text
    assert page.text.count("on a machine, revision abc") == 19
    (environment,) = re.findall(r"19 cells: .*? revision \w+", page.text)
    assert "python 3 , ltbench 0 , torch 2" in environment
    assert environment.endswith("device_name a machine , instructions avx2 , threads 1 , revision abc")


def test_the_page_is_whole_by_itself(page: Page) -> None:
    assert all(link.startswith(("#", "data:")) for link in page.links)
    addresses = set(re.findall(r"\w+://[^\s\"'<)]+", page.html))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert page.tags["link"] == 1
    assert page.tags["img"] == page.tags["iframe"] == 0
    assert "default-src 'none'" in page.html


def test_ids_are_unique_and_every_link_has_its_target(page: Page) -> None:
    assert [name for name, n in Counter(page.ids).items() if n > 1] == []
    targets = {link[1:] for link in page.links if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page.html))
    targets |= set(re.findall(r'aria-(?:controls|labelledby|describedby)="([^" ]+)', page.html))
    assert targets <= set(page.ids)


def test_plots_are_inline_with_text_as_text_and_colours_of_the_page(page: Page) -> None:
    assert page.tags["svg"] == 2 * 8
    assert page.tags["text"] > 100
    assert page.html.count('role="img" aria-labelledby=') == page.tags["svg"]
    drawings = "".join(re.findall(r"<svg.*?</svg>", page.html, re.S))
    assert re.findall(r"(?:stroke|fill): (#\w+)", drawings) == []
    assert "<title>ldam(max_margin=0.3)</title>" in drawings


def test_ranks_over_data_sets_of_one_setting(tmp_path: Path, page: Page) -> None:
    assert "Ranks over" not in page.text  # two imbalances of one data set
    for name in ("a", "b", "c", "d", "e"):
        store = made_store(tmp_path, {"ce": 1.0, "crt": 2.0, "focal": 3.0}, seeds=1, dataset=name)
    (ranks,) = ranks_by_setting(load_results(store.root)).values()
    text = report_of(store).text
    assert "Ranks over data sets, recipe digits" in text
    for method, rank in ranks.frame.average_rank.items():
        assert f"{method} {rank:.1f}" in text or f"{rank:.1f} {method}" in text


def test_names_are_text_whatever_they_are(tmp_path: Path) -> None:
    store = made_store(tmp_path / "<i>", dict.fromkeys(HOSTILE, 1.0), seeds=1, dataset="<script>alert(2)</script>")
    page = report_of(store)
    (board,) = (rows for key, rows in page.tables.items() if key.endswith("board"))
    assert set(board) == set(HOSTILE)
    assert page.tags["script"] == 1
    assert page.tags["i"] == 0
    drawings = "".join(re.findall(r"<svg.*?</svg>", page.html, re.S))
    texts = Page(drawings).texts
    assert set(HOSTILE) <= set(texts)


def test_the_same_results_give_the_same_page(store: Store, tmp_path: Path, page: Page) -> None:
    again = tmp_path / "again.html"
    write_report(store.root, again)
    times = re.compile(r"<time>[^<]+</time>")
    assert times.sub("", again.read_text()) == times.sub("", page.html)


def test_a_store_of_failures_alone_is_reported(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    made_failure(store, "ce")
    page = report_of(store)
    assert page.tables["digits-100-board"]["ce"][-1].text == "0 of 1"
    assert page.tags["svg"] == 0


def test_tables_of_one_name_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    made_record(store, "ce")
    made_record(store, "ce", recipe="digits[epochs=2]")
    assert {"digits-100-board", "digits-100-2-board"} <= set(report_of(store).tables)


def test_ours_stand_beside_the_papers(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    given = {
        "recipe": "ldam",
        "recipe_values": Recipe(classifier_init="ldam").identity(),
        "losses": [StageLosses(stage="train", loss=(1.0, 1.0))],  # so that two evaluations are all epochs
    }
    for seed in range(3):
        accuracies = {"last": chosen(70.0), "best-on-test": chosen(72.0 + seed / 10)}
        for dataset in ("cifar10", "cifar10 (imagefolder)"):
            for method in ("ce", "ride"):
                made_record(store, method, seed=seed, dataset=dataset, protocols=accuracies, **given)
    page = report_of(store)
    texts = [cell.text for cell in page.tables["cifar10-100-papers"]["ce"]]
    assert texts[2:5] == ["72.1", "70.4", "+1.7"]
    source = "Cao19 table 2, with recipe.classifier_init=ldam"
    assert texts[5:] == ["within", "best-on-test", "F1, resnet32_cifar", "A", source]
    elsewhere = [cell.text for cell in page.tables["cifar10-imagefolder-100-papers"]["ce"]]
    assert elsewhere[4:6] == ["–", "not comparable: other images"]


def test_the_classes_of_each_finished_method_are_those_of_the_command(store: Store, page: Page) -> None:
    found = class_reports(load_results(store.root), store.latest(), store)
    finished = load_results(store.root).query("status == 'done' and imbalance == '100'").method.unique()
    tables = {key: table for key, table in page.tables.items() if key.startswith("digits-100-classes-")}
    recalls = {method: cells for key, table in tables.items() for method, cells in table.items() if key.endswith("-1")}
    assert set(recalls) == set(finished)
    for method, cells in recalls.items():
        expected = recall_texts(next(report for report in found[method] if report.place["imbalance"] == "100"))
        assert [cell.text for cell in cells] == [text for row in expected for text in row]
    confusions = [cells for key, table in tables.items() for cells in table.values() if key.endswith("-3")]
    assert all(len(cells) == 5 * 6 for cells in confusions)
    assert len(confusions) == len(recalls)


def test_features_and_classifiers_are_the_grids_of_the_terminal(tmp_path: Path, page: Page) -> None:
    assert "Features and classifiers" not in page.text
    store = Store(tmp_path / "results")
    for number, (features, classifier) in enumerate([("ce", ""), ("ce", "crt"), ("mixup", ""), ("mixup", "crt")]):
        links = [Link(method=name, source="s", hyperparameters={}) for name in (features, classifier) if name]
        after = {"after": features} if classifier and features == "mixup" else {}
        for seed in range(3):
            changes = {"chain": links, "hyperparameters": after, "skill": 1.0 + number}
            made_record(store, classifier or features, seed=seed, **changes)
    cells = load_results(store.root)
    grids = decoupling_grids(decoupling(cells, leaderboard(cells)))
    found = report_of(store)
    tables = [found.tables[f"digits-100-decoupled-{n}"][""] for n in (1, 2, 3)]
    assert [[cell.text for cell in table] for table in tables] == [
        [text for row in grid.rows for text in row] for grid in grids
    ]
    assert "difference to the features of ce" in found.text


def test_with_many_classes_the_page_has_those_with_the_lowest_recall(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    n = 30
    hits = [EACH - c for c in range(n)]
    counts = {"class_counts": [40 - c for c in range(n)], "test_counts": [EACH] * n, "hits": hits}
    store.add(record_of("ce", classes=[f"class {c}" for c in range(n)], **counts))
    page = report_of(store)
    cells = page.tables["digits-100-classes-1-1"]["ce"]
    assert [cell.text for cell in cells[::6]] == [f"{c} class {c}" for c in range(29, 9, -1)]
    assert "recall of each class: the 20 lowest of 30" in page.text


# the command


def test_the_command_writes_page_figures_and_tables(ltbench, store: Store) -> None:
    answer = ltbench("report", "--results", str(store.root), "-o", "out/page.html", "--figures", "figures")
    assert answer.status == 0
    files = [Path(line) for line in answer.out.splitlines()]
    assert files[0] == Path("out/page.html")
    assert all(file.stat().st_size > 500 for file in files)
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(file.read_bytes().startswith(heads[file.suffix]) for file in files if file.suffix in heads)
    names = {file.name for file in files[1:]}
    assert {"digits-100-accuracy.png", "digits-20-reliability.pdf", "digits-20-head-tail.png"} <= names
    for name, form in (("leaderboard.md", "markdown"), ("leaderboard.csv", "csv"), ("leaderboard.tex", "latex")):
        shown = ltbench("leaderboard", "--results", str(store.root), "--format", form).out
        assert Path("figures", name).read_text() == shown


def test_one_suite_alone_is_reported(ltbench, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    kept = made_record(store, "ce")
    made_record(store, "focal")
    store.add_plan("plan", {"suite": "quickstart", "cells": [as_planned(kept)]})
    assert ltbench("report", "--results", str(store.root), "--suite", "quickstart").status == 0
    assert set(Page(Path("report.html").read_text()).tables["digits-100-board"]) == {"ce"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--results", "nowhere"], "results folder nowhere does not exist"),
        (["--results", "empty"], "no results in empty yet"),
        (["--suite", "quickstar"], "did you mean 'quickstart'?"),
        (["-o", "empty"], "empty cannot be written (it is a folder); give another file with -o"),
        (["-o", "file/report.html"], "file/report.html cannot be written"),
        (["--figures", "file"], "give another folder with --figures"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(ltbench, store: Store, words: list[str], told: str) -> None:
    Path("empty").mkdir()
    Path("file").write_text("")
    answer = ltbench("report", *(words if "--results" in words else ["--results", str(store.root), *words]))
    assert answer.status == 2
    assert told in answer.err
    assert answer.err.count("\n") == 1
    assert list(Path().glob("**/.*")) == []
