"""The commands that read the results folder."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ltbench as package
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.show.tables import render
from tests.conftest import FAST, Answer, numbers, records
from tests.made import made_store

Cli = Callable[..., Answer]


def test_show_repeats_a_cell_with_the_command_it_prints(ltbench: Cli, some_results: None) -> None:
    record = next(r for r in records().values() if r.seed == 1)
    shown = " ".join(ltbench("show", record.id[:10]).out.split())
    assert record.command in shown
    words = record.command.split()
    assert words[0] == "ltbench"
    assert ltbench(*words[1:], "--results", "again").status == 0
    (again,) = records("again").values()
    assert numbers(again) == numbers(record)
    assert Record.model_validate_json(ltbench("show", record.id, "--json").out) == record


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "latex"])
def test_leaderboard_formats(ltbench: Cli, some_results: None, form: str) -> None:
    out = ltbench("leaderboard", "--format", form).out
    assert "class" in out
    if form == "csv":
        assert len(pd.read_csv(pd.io.common.StringIO(out))) == 2
    if form == "json":
        row = json.loads(out)[0]
        assert row["best"] is True
        assert row["seeds"] == 2
    if form == "latex":
        assert r"class\_balanced\_sampling" in out


@pytest.mark.parametrize("width", [60, 80, 100, 150])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(ltbench: Cli, some_results: None, width: int) -> None:
    board = package.leaderboard(package.load_results())
    lines = [line for line in render(board, "table", "last", width).splitlines() if "class_balanced_sampling" in line]
    assert len(lines) == 1
    assert "…" not in lines[0]
    assert "★" in lines[0] + render(board, "table", "last", width)
    assert len(re.sub(r"\x1b\[[0-9;]*m", "", lines[0])) <= width


def test_the_leaderboard_is_the_mean_over_seeds(ltbench: Cli, some_results: None) -> None:
    for row in json.loads(ltbench("leaderboard", "--json").out):
        of_seeds = [r.finished.last for r in records().values() if r.method == row["method"]]
        for metric in ("balanced_accuracy", "few", "macro_f1", "ece", "nll"):
            assert row[metric] == pytest.approx(np.mean([getattr(values, metric) for values in of_seeds]))


def test_a_single_data_set_has_no_average_ranks_and_the_table_says_why(ltbench: Cli) -> None:
    out = ltbench("run", *FAST, "--methods", "ce,class_balanced_sampling", "--imbalance", "100,20").out
    (line,) = (line for line in out.splitlines() if line.startswith("No average ranks"))
    assert "2 tables of 1 data set are too few" in line
    assert "average ranks" not in ltbench("leaderboard", "--protocol", "best-on-test").out


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_accuracy_under_shifted_test_priors(ltbench: Cli, some_results: None, form: str) -> None:
    out = ltbench("leaderboard", "--shifted", "--format", form).out
    assert len([line for line in out.splitlines() if re.search(r"class\\?_balanced", line)]) == (
        1 if form[0] in "tml" else 10
    )
    if form == "table":
        (line,) = (line for line in out.splitlines() if "class_balanced_sampling" in line)
        values = [float(x) for x in re.findall(r"\d+\.\d", line)]
        assert len(values) == 11
        board = json.loads(ltbench("leaderboard", "--json").out)
        assert values[5] == pytest.approx(board[0]["balanced_accuracy"], abs=0.06)
    if form == "json":
        assert {row["direction"] for row in json.loads(out)} == {"forward", "backward"}


def test_the_difference_to_ce_is_that_of_paired_seeds(ltbench: Cli, some_results: None) -> None:
    by_seed = {(r.method, r.seed): r.finished.last.balanced_accuracy for r in records().values()}
    gains = [by_seed["class_balanced_sampling", seed] - by_seed["ce", seed] for seed in (0, 1)]
    row = json.loads(ltbench("leaderboard", "--json").out)[0]
    assert row["difference_to_ce"] == pytest.approx(np.mean(gains))
    assert (row["p_to_ce"] < 0.05) == (abs(row["difference_to_ce"]) > row["difference_to_ce_interval"])
    assert f"{np.mean(gains):+.1f} ± " in ltbench("leaderboard").out


def test_tables_stand_in_one_order_whatever_was_trained_first(ltbench: Cli) -> None:
    for imbalance in ("natural", "20", "100", "step:20"):
        ltbench("run", *FAST, "--methods", "ce", "--imbalance", imbalance)
    rows = json.loads(ltbench("leaderboard", "--format", "json").out)
    assert [row["imbalance"] for row in rows] == ["100", "20", "step:20", "natural"]


def test_protocols(ltbench: Cli) -> None:
    options = ("--imbalance", "10", "--seeds", "1", "--methods", "ce", "--set", "holdout=10")
    settings = ("--set", "recipe.epochs=6", "--set", "recipe.evaluate_every=1", "--set", "recipe.test_curve=true")
    ltbench("run", *options, *settings)
    (record,) = records().values()
    assert [e.epoch for e in record.finished.evaluations] == [1, 2, 3, 4, 5, 6]
    by_test = [e.test.balanced_accuracy for e in record.finished.evaluations]
    by_val = [e.val.balanced_accuracy for e in record.finished.evaluations]
    found = {
        p: json.loads(ltbench("leaderboard", "--json", "--protocol", p).out)[0] for p in ("last", "val", "best-on-test")
    }
    assert found["last"]["balanced_accuracy"] == pytest.approx(by_test[-1])
    assert found["val"]["balanced_accuracy"] == pytest.approx(by_test[int(np.argmax(by_val))])
    assert found["best-on-test"]["balanced_accuracy"] == pytest.approx(max(by_test))
    assert "OPTIMISTIC" in ltbench("leaderboard", "--protocol", "best-on-test").out


def test_the_best_network_on_validation_is_kept_and_measured_after_training(ltbench: Cli) -> None:
    options = ("--imbalance", "10", "--seeds", "1", "--methods", "ce", "--set", "holdout=10")
    options += ("--set", "recipe.epochs=6", "--set", "recipe.evaluate_every=1")
    ltbench("run", *options, "--results", "blind")
    ltbench("run", *options, "--set", "recipe.test_curve=true", "--results", "curve")
    (blind,), (curve,) = (list(records(results).values()) for results in ("blind", "curve"))
    assert [e.test is None for e in blind.finished.evaluations] == [True] * 5 + [False]
    for protocol in ("last", "val"):
        assert blind.finished.protocols[protocol] == curve.finished.protocols[protocol]
    assert "best-on-test" not in blind.finished.protocols
    answer = ltbench("leaderboard", "--protocol", "best-on-test", "--results", "blind")
    assert "no test curve (--set recipe.test_curve=true)" in answer.out


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "latex"])
def test_the_classes_of_a_method(ltbench: Cli, some_results: None, form: str) -> None:
    method, of = "class_balanced_sampling", {r.seed: r for r in records().values() if r.method != "ce"}
    ce = {r.seed: r for r in records().values() if r.method == "ce"}
    recall = {s: np.divide(r.finished.hits, r.finished.test_counts) * 100 for s, r in of.items()}
    gain = [recall[s] - np.divide(r.finished.hits, r.finished.test_counts) * 100 for s, r in ce.items()]
    assert of[0].finished.classes == tuple("0123456789")
    out = ltbench("classes", method, "--suite", "quickstart", "--pairs", "3", "--format", form).out
    if form == "json":
        (table,) = json.loads(out)
        assert (table["imbalance"], table["method"], table["baseline"]) == ("20", method, "ce")
        assert [row["recall"] for row in table["classes"]] == pytest.approx(np.mean(list(recall.values()), axis=0))
        assert [row["gain"] for row in table["classes"]] == pytest.approx(np.mean(gain, axis=0))
        assert np.diag(table["confusion"]) == pytest.approx(np.mean(list(recall.values()), axis=0))
        assert len(table["pairs"]) == 3
        largest = max(v for i, row in enumerate(table["confusion"]) for j, v in enumerate(row) if i != j)
        assert table["pairs"][0]["share"] == pytest.approx(largest)
    elif form == "csv":
        frame = pd.read_csv(pd.io.common.StringIO(out))
        assert frame.recall.tolist() == pytest.approx(np.mean(list(recall.values()), axis=0))
        assert frame[[f"predicted_{label}" for label in range(10)]].sum(axis=1).tolist() == pytest.approx([100] * 10)
    else:
        assert "gain over ce" in out
        assert all(f"{value:.1f}" in out for value in np.mean(list(recall.values()), axis=0))
        assert "confusion matrix" in out
        assert "Intervals are for each class alone" in out
        assert "confusion matrix" not in ltbench("classes", method, "--no-matrix", "--format", form).out


def test_classes_of_one_seed_and_of_a_method_without_results(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "ce", "--imbalance", "20,10")
    out = ltbench("classes", "ce").out
    assert out.count("recall of each class") == 2
    assert "Jeffreys' 95 % interval over test images" in out
    assert "gain" not in out
    answer = ltbench("classes", "cee")
    assert answer.status == 2
    assert "unknown method with results 'cee'; did you mean 'ce'?" in answer.err


def test_groups_of_classes_are_a_view_and_nothing_is_trained_again(ltbench: Cli, some_results: None) -> None:
    few = np.array(next(iter(records().values())).finished.class_counts) < 50
    before = sorted(Path("results").rglob("*"))
    rows = json.loads(ltbench("leaderboard", "--json", "--shots", "50,90").out)
    assert {row["shots"] for row in rows} == {"(50, 90)"}
    of_ce = [np.divide(r.finished.hits, r.finished.test_counts)[few] for r in records().values() if r.method == "ce"]
    (ce,) = [row for row in rows if row["method"] == "ce"]
    assert ce["few"] == pytest.approx(100 * np.mean(of_ce))
    assert "> 90, 50 to 90, < 50 training images" in ltbench("leaderboard", "--shots", "50,90").out
    assert "terciles of the classes by size" in ltbench("leaderboard", "--shots", "terciles").out
    assert sorted(Path("results").rglob("*")) == before
    answer = ltbench("leaderboard", "--shots", "100,20")
    assert answer.status == 2
    assert "allowed: auto, terciles, or two numbers such as 20,100" in answer.err


def test_without_validation_the_val_protocol_says_so(ltbench: Cli, some_results: None) -> None:
    assert "no validation split" in ltbench("leaderboard", "--protocol", "val").out


def test_status_tells_what_is_to_do(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "ce")
    plan = next(Path("results/plans").iterdir())
    content = json.loads(plan.read_text())
    content["cells"].append(content["cells"][0] | {"id": "0" * 16, "seed": 7})
    plan.write_text(json.dumps(content))
    lock = Store("results").try_lock("0" * 16)
    assert sorted(c["state"] for c in json.loads(ltbench("status", "--json").out)) == ["done", "running"]
    assert lock is not None
    lock.release()
    assert sorted(c["state"] for c in json.loads(ltbench("status", "--json").out)) == ["done", "to do"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("leaderboard",), "results folder results does not exist"),
        (("run", "--subset-seeds", "x"), "--subset-seeds x is not understood"),
        (("run", "--subset-seeds", "0,1", "--set", "subset_seed=1"), "both given"),
        (("status", "--results", "other"), "results folder other does not exist"),
        (("show", "abc"), "results folder results does not exist"),
        (("classes", "ce"), "results folder results does not exist"),
        (("classes", "ce", "--results", "."), "unknown method with results 'ce'"),
        (("data", "check", "cifar"), "unknown data set 'cifar'; did you mean 'cifar10'"),
        (("leaderboard", "--suite", "quick", "--results", "."), "unknown suite 'quick'"),
        (("show", "abc", "--results", "."), "no cell begins with 'abc'"),
    ],
)
def test_wrong_questions(ltbench: Cli, words: tuple[str, ...], message: str) -> None:
    answer = ltbench(*words)
    assert answer.status == 2
    assert message in answer.err


def test_the_leaderboard_shows_the_methods_and_columns_that_are_asked_for(ltbench: Cli) -> None:
    made_store(Path("results"), {"ce": 1.0, "crt": 2.0, "crt_mixup": 1.5})
    whole = pd.read_csv(io.StringIO(ltbench("leaderboard", "--format", "csv").out)).set_index("method")
    answer = ltbench("leaderboard", "--methods", "ce,crt_*", "--columns", "few,ECE", "--format", "csv", "-o", "few.csv")
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    found = pd.read_csv("few.csv").set_index("method")
    assert list(found.index) == ["crt_mixup", "ce"]
    assert {"few", "ece"} < set(found)
    assert not {"many", "p_to_ce"} & set(found)
    assert found.few.to_dict() == whole.few[found.index].to_dict()
    shown = ltbench("leaderboard", "--methods", "crt_*", "--columns", "vs ce").out
    assert f"{whole.difference_to_ce['crt_mixup']:+.1f}" in shown  # compared with a method that is not shown
    assert "crt_mixup" in shown
    assert "unknown column 'fewer'; did you mean 'few'?" in ltbench("leaderboard", "--columns", "fewer").err
    assert "unknown method with results 'x_*'" in ltbench("leaderboard", "--methods", "x_*").err
    assert "remove --columns" in ltbench("leaderboard", "--shifted", "--columns", "few").err


def test_show_fits_80_columns_and_leaves_the_command_whole(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = f"ltbench run {'--set a=b ' * 20}"
    (record,) = made_store(Path("results"), {"ce": 1.0}, seeds=1, command=command).latest().values()
    lines = ltbench("show", record.id).out.splitlines()
    assert record.command.strip() in [line.strip() for line in lines]
    assert max(len(line.rstrip()) for line in lines if not line.startswith("ltbench run")) <= 80
