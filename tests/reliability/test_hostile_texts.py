"""Texts that a terminal, a spreadsheet, LaTeX, Markdown or HTML would obey."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from ltbench.results.store import Store
from ltbench.show.grid import Grid
from ltbench.show.predictions import render_predictions
from ltbench.show.tables import for_spreadsheets, text_of
from ltbench.tracking.address import shown
from tests.made import made_record
from tests.reliability.attack import Attack, fault

NASTY = "[/red] \x1b[31m <script>x</script> =1+1 \\input{x} $x$ {y} a|b"


def nasty() -> Store:
    """Results of a data set with this name."""
    store = Store("results")
    for method in ("ce", "focal"):
        made_record(store, method, dataset=NASTY)
    return store


@pytest.mark.parametrize(
    "words",
    [
        ("leaderboard",),
        ("leaderboard", "--format", "markdown"),
        ("leaderboard", "--format", "latex"),
        ("leaderboard", "--format", "csv"),
        ("status",),
        ("classes", "ce"),
    ],
    ids=" ".join,
)
@fault("Terminal and files", "markup, ESC, HTML, LaTeX and a formula in the name of a data set")
def test_a_name_that_a_terminal_would_obey(attack: Attack, words: tuple[str, ...]) -> None:
    nasty()
    answer = attack(*words)
    if words[-1] != "csv":  # data for programs, which is not printed
        assert "\x1b[31m" not in answer.out + answer.err
    attack.shown(answer, 0, "[/red]" if words[0] != "status" else "done")


@fault("Terminal and files", "markup and ESC in the stored reason of a failed cell")
def test_a_reason_that_a_terminal_would_obey(attack: Attack) -> None:
    store = Store("results")
    record = made_record(store, "ce")
    failed = record.model_copy(update={"result": None, "reason": NASTY})
    store.add(failed)
    for words in (("status",), ("leaderboard",), ("leaderboard", "--format", "markdown")):
        assert "\x1b[31m" not in attack(*words).out
    attack.shown(attack("show", record.id), 0, r"[/red] \x1b[31m <script>")


@fault("Terminal and files", "HTML in the name of a data set, in the report")
def test_the_report_has_no_foreign_tags(attack: Attack) -> None:
    nasty()
    attack.shown(attack("report", "-o", "results/page.html"), 0, "page.html")
    page = Path("results/page.html").read_text(encoding="utf-8")
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


def test_latex_markdown_and_csv_are_escaped() -> None:
    grid = Grid("t\nitle", ["method", "x"], [["a\\b_{$c$}", "<b>|*y*"]])
    latex = text_of([grid], ["one\ntwo"], "latex", None)
    assert r"a\textbackslash{}b\_\{\$c\$\}" in latex
    assert {line[0] for line in latex.splitlines() if "title" in line or "two" in line} == {"%"}
    assert r"\<b>/\*y\*" in text_of([grid], [], "markdown", None)


def test_no_text_of_a_csv_is_a_formula() -> None:
    frame = pd.DataFrame({"=name": ["=1+1", "@x", "-y", "plain"], "number": [-1.0, 2.0, 3.0, None]})
    rows = list(csv.reader(io.StringIO(for_spreadsheets(frame).to_csv(index=False))))
    assert rows[0] == ["'=name", "number"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'@x", "'-y", "plain"]
    assert rows[1][1] == "-1.0"
    found = pd.DataFrame([[0.25, 0.75]], index=["=cmd.png"], columns=["=a", "b"])
    assert render_predictions(found, "csv", 1) == "image,'=a,b\n'=cmd.png,0.250000,0.750000"


@pytest.mark.parametrize(
    ("address", "printed"),
    [
        ("http://me:secret@host/x", "http://***@host/x"),
        ("http://secret@host", "http://***@host"),
        ("postgresql://me:sec@ret@host:5/d", "postgresql://***@host:5/d"),
        ("postgresql://host/d?user=me&password=secret&x=1", "postgresql://host/d?user=me&password=***&x=1"),
        ("no answer at http://me:secret@host (why)", "no answer at http://***@host (why)"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_no_password_of_an_address_is_printed(address: str, printed: str) -> None:
    assert shown(address) == printed


@fault("MLflow", "a tracking address with a password, where nothing answers")
def test_a_password_in_the_tracking_address(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    made_record(Store("results"), "ce")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/x")
    answer = attack("sync")
    assert "secret" not in answer.out + answer.err
    attack.shown(answer, 2, "nothing answers at http://***@127.0.0.1:9/x")


@fault("MLflow", "%20 in the name of the results folder")
def test_an_escape_in_the_name_of_the_results(attack: Attack) -> None:
    made_record(Store("results%20"), "ce")
    attack.shown(attack("sync", "--results", "results%20"), 2, "rename the folder that has a '%20'")
