"""The functions of ``import ltbench``: the commands of the same names, from Python."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ltbench as package
from ltbench.api.training import tracked
from ltbench.cli.run import run as run_command
from ltbench.cli.run import tune as tune_command
from ltbench.errors import InputError
from ltbench.plan.expand import PlannedStage
from ltbench.results.store import Store
from ltbench.runner.progress import Lines, reporter
from tests.conftest import Answer
from tests.made import CLASSES, EACH, made_failure, made_store

ROOT = Path(__file__).parent.parent
SCRIPT = """
import ltbench

print("begin")
cells = ltbench.run(methods=["ce", "focal"], imbalance=[20], seeds=1, workers=2, changes={"recipe.epochs": 1})
print(*cells.status)
"""
SMALL: dict[str, Any] = {"imbalance": [20], "changes": {"recipe.epochs": 1}, "workers": 1}


def test_run_trains_what_is_missing_and_prints_what_the_command_prints(
    ltbench: Callable[..., Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    cells = package.run(
        methods=["ce", "focal"], seeds=2, **SMALL | {"changes": {"recipe.epochs": 1, "focal.gamma": 2.0}}
    )
    printed = capsys.readouterr()
    assert len(cells) == 4
    assert set(cells.status) == {"done"}
    assert printed.out == ""
    assert "4 cells under recipe" in printed.err
    assert "[4/4] " in printed.err
    board = package.leaderboard(package.load_results())
    assert set(board.method) == {"ce", "focal(gamma=2.0)"}
    assert board.balanced_accuracy.is_monotonic_decreasing
    words = ("--imbalance", "20", "--seeds", "2", "--set", "recipe.epochs=1", "--set", "focal.gamma=2.0")
    again = ltbench("run", "--methods", "ce,focal", *words)
    assert "4 done, 0 to do" in again.err


def test_run_prints_nothing_without_progress(capsys: pytest.CaptureFixture[str]) -> None:
    package.run(methods=["ce"], seeds=1, progress=False, **SMALL)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "command", "of_the_terminal"),
    [(package.run, run_command, {"dry_run", "shard", "as_json"}), (package.tune, tune_command, {"as_json"})],
)
def test_a_function_has_the_options_and_the_defaults_of_its_command(
    function: Callable[..., Any], command: Callable[..., Any], of_the_terminal: set[str]
) -> None:
    ours, theirs = (
        {name: parameter.default for name, parameter in inspect.signature(one).parameters.items()}
        for one in (function, command)
    )
    renamed = {"set_": "changes", "checkpoint_every": "checkpoint_every_s", "methods_dir": "methods_dirs"}
    shared = {renamed.get(name, name): value for name, value in theirs.items()}
    assert shared.keys() - ours.keys() == of_the_terminal
    assert ours.keys() - shared.keys() == {"progress"}
    assert (ours.pop("tracking"), shared["tracking"]) == (None, True)  # None: as the environment says, or True
    for name in ours.keys() & shared.keys():
        assert str(ours[name] or None) == str(shared[name] or None), name


def test_mlflow_is_updated_unless_the_environment_or_the_caller_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LTBENCH_TRACKING", raising=False)
    assert tracked(None)
    assert not tracked(False)
    monkeypatch.setenv("LTBENCH_TRACKING", "no")
    assert not tracked(None)
    assert tracked(True)
    monkeypatch.setenv("LTBENCH_TRACKING", "perhaps")
    with pytest.raises(InputError, match="allowed: 1, 0"):
        tracked(None)


@pytest.mark.slow
def test_run_updates_mlflow_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LTBENCH_TRACKING")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    package.run(methods=["ce"], seeds=1, **SMALL)
    assert Path("results/mlflow/mlflow.db").exists()


def test_in_a_notebook_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(reporter(), Lines)
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    with reporter() as listen:
        listen.begin({f"ce / seed {seed}": [PlannedStage("train", str(seed), 9, 5.0)] for seed in (0, 1)})
        listen.epoch("ce / seed 0", "train", 3, 9)
        listen.finished("ce / seed 0", "50.0 %")
        listen.finished("ce / seed 1", "51.0 %")
    printed = capsys.readouterr()
    assert printed.out == "ce / seed 0: 50.0 %\nce / seed 1: 51.0 %\n"
    assert "ce / seed 0 · train 3/9" in printed.err
    assert "2/2" in printed.err


def test_tune_returns_a_row_for_each_study_and_run_uses_them() -> None:
    studies = package.tune(methods=["ce", "focal"], trials=2, progress=False, **SMALL)
    assert list(studies.method) == ["ce", "focal"]
    assert list(studies.trials) == [2, 2]
    assert (studies.best >= studies.default).all()
    assert set(studies.chosen[1]) == {"gamma", "recipe.lr", "recipe.weight_decay"}
    cells = package.run(methods=["focal"], tuned=True, seeds=1, progress=False, **SMALL)
    assert sorted(cells.trials) == [0, 2]


# reading results


def test_curves_have_a_row_for_each_cell_and_epoch() -> None:
    store = made_store(Path("results"), {"ce": 1.0, "crt": 2.0}, ("100", "50"), seeds=2)
    made_failure(store, "focal")
    cells = package.load_results()
    found = package.curves(cells)
    assert len(found) == 2 * 2 * 2 * 20  # methods, imbalances, seeds, epochs
    one = found[(found.method == "crt") & (found.imbalance == "50") & (found.seed == 1)]
    assert list(one.epoch) == list(range(1, 21))
    assert list(one["train/loss"]) == [2.0 / (epoch + 1) + 0.1 for epoch in range(20)]
    tested = one.dropna(subset="test/balanced_accuracy")
    assert list(tested.epoch) == [10, 20]
    last = cells[cells.id == one.id.iloc[0]].balanced_accuracy.item()
    assert tested["test/balanced_accuracy"].iloc[1] == last
    with pytest.raises(InputError, match="name its folder"):
        package.curves(cells, results="another")


def test_logits_and_confusion_are_those_of_the_cell() -> None:
    store = made_store(Path("results"), {"ce": 1.0}, seeds=1)
    (record,) = store.latest().values()
    logits, labels = package.logits(record.id[:6])
    assert logits.shape == (len(CLASSES) * EACH, len(CLASSES))
    hits = np.bincount(labels[logits.argmax(axis=1) == labels], minlength=len(CLASSES))
    matrix = package.confusion(record.id)
    assert list(matrix.index) == list(matrix.columns) == CLASSES
    assert matrix.sum(axis=1).to_numpy() == pytest.approx(np.full(5, 100.0))
    assert np.diag(matrix) == pytest.approx(100 * np.array(record.finished.hits) / EACH)
    assert 100 * hits / EACH == pytest.approx(np.diag(matrix), abs=0.3)  # logits are rounded
    with pytest.raises(InputError, match="no cell begins with 'xyz'"):
        package.confusion("xyz")
    store.arrays_path(record.id).unlink()
    with pytest.raises(InputError, match="are missing; restore the file"):
        package.logits(record.id)


def test_compare_has_the_verdicts_of_the_command(ltbench: Callable[..., Answer]) -> None:
    made_store(Path("a"), {"ce": 1.0, "crt": 1.0})
    made_store(Path("b"), {"ce": 1.0, "crt": 2.0})
    found = package.compare("a", "b").set_index("entry")
    assert found.verdict.to_dict() == {"ce": "identical", "crt": "better"}
    assert list(found.seeds) == [3, 3]
    assert found.after["crt"] - found.before["crt"] > found.half_width["crt"] > 0
    assert "crt (better)" in ltbench("compare", "a", "b").out


def test_report_writes_the_page_of_a_suite() -> None:
    made_store(Path("results"), {"ce": 1.0})
    assert package.report(output="page.html") == [Path("page.html")]
    assert "balanced accuracy" in Path("page.html").read_text()
    with pytest.raises(InputError, match="unknown suite 'other'"):
        package.report(suite="other")


# its page and its examples


def test_every_function_has_an_example() -> None:
    for name in ("compare", "confusion", "curves", "logits", "report", "run", "tune"):
        assert "    Example:\n        >>> " in (getattr(package, name).__doc__ or ""), name


def test_the_page_about_python_runs_and_names_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    for name in ("run", "tune", "leaderboard", "load_results", "report", "curves", "logits", "confusion", "compare"):
        assert f"ltbench.{name}(" in text, name
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    fast = {"recipe.epochs": 1}
    run, tune = package.run, package.tune
    monkeypatch.setattr(package, "run", lambda *a, **b: run(*a, **b | {"changes": fast, "seeds": 2, "workers": 1}))
    monkeypatch.setattr(package, "tune", lambda *a, **b: tune(*a, **b | {"changes": fast, "trials": 2, "workers": 1}))
    names: dict[str, Any] = {}
    exec(code, names)
    assert isinstance(names["board"], pd.DataFrame)
    assert Path("report.html").exists()


@pytest.mark.slow
def test_a_script_without_a_guard_can_use_several_processes() -> None:
    Path("script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, env=environment)
    assert done.stdout == "begin\ndone done\n", done.stderr
    assert len(Store("results").latest()) == 2
