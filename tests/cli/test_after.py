"""Features x classifiers from the command to the grid: trained once, resumed, verified, repeated."""

import json
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ltbench as package
import ltbench.runner.one_cell as execution
from ltbench.engine.stage import RunningStage, State
from ltbench.errors import InputError
from ltbench.results.store import Store
from tests.conftest import FAST, Answer, numbers, records

Cli = Callable[..., Answer]
SUITE = """
datasets = ["digits"]
imbalance = 20
methods = ["focal", "crt", "tau_norm(double_correction=true)", "logit_adjustment_posthoc"]
after = ["ce", "aux_random"]
seeds = 1
recipe = { base = "digits", epochs = 1 }
"""
WHOLE = {
    "focal",
    "ce",
    "aux_random",
    "crt",
    "crt(after=aux_random)",
    "tau_norm",
    "tau_norm(after=aux_random, double_correction=true)",
    "logit_adjustment_posthoc",
}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often stages of each method were trained."""
    found: Counter[str] = Counter()
    whole = execution.train_stage

    def counting(running: RunningStage, *rest: Any) -> State:
        found[running.method.name] += 1
        return whole(running, *rest)

    monkeypatch.setattr(execution, "train_stage", counting)
    return found


@pytest.fixture
def suite() -> tuple[str, ...]:
    Path("grid.toml").write_text(SUITE)
    return "--suite", "grid.toml", "--workers", "1"


def test_a_suite_combines_its_methods_with_all_features_and_trains_each_once(
    ltbench: Cli, suite: tuple[str, ...], trained: Counter[str]
) -> None:
    answer = ltbench("run", *suite)
    assert answer.status == 0
    assert {record.entry for record in records().values()} == WHOLE
    assert trained == Counter(
        {"ce": 1, "aux_random": 1, "focal": 1, "crt": 2, "tau_norm": 2, "logit_adjustment_posthoc": 1}
    )
    skipped = [line for line in answer.err.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 1
    assert "logit_adjustment_posthoc(after=aux_random): corrects the class prior twice" in skipped[0]
    for part in ("features", "joint", "recipe digits[epochs=1] · bal. accuracy", "few-shot accuracy"):
        assert part in answer.out
    assert answer.out == ltbench("run", *suite).out
    assert sum(trained.values()) == 8  # nothing was trained a second time
    assert "few-shot accuracy**" in ltbench("leaderboard", "--format", "markdown").out
    assert {row["method"] for row in json.loads(ltbench("leaderboard", "--json").out)} == WHOLE


def test_every_cell_is_verified_and_its_command_repeats_it(ltbench: Cli, suite: tuple[str, ...]) -> None:
    ltbench("run", *suite)
    assert ltbench("verify").status == 0
    assert ltbench("status").status == 0
    found = records()
    for record in found.values():
        if record.classifier != "joint" and record.features != "ce":
            words = shlex.split(record.command)
            assert ltbench(*words[1:], "--workers", "1", "--results", "again").status == 0
            assert [name for name in records("again") if name == record.id]
            assert numbers(records("again")[record.id]) == numbers(record)
    again = records("again")
    assert {record.entry for record in again.values()} == {entry for entry in WHOLE if "after" in entry}


def test_three_ways_to_say_it_name_one_cell_that_is_not_the_usual_one(ltbench: Cli) -> None:
    def ids(*words: str) -> set[str]:
        return {cell["id"] for cell in json.loads(ltbench("run", *FAST, "--dry-run", "--json", *words).out)}

    usual = ids("--methods", "crt")
    chosen = ids("--methods", "crt(after=mixup)")
    assert chosen == ids("--methods", "crt", "--set", "crt.after=mixup")
    assert chosen.isdisjoint(usual)
    assert ids("--methods", "crt(after=ce)") == usual
    assert ids("--methods", "crt(after=mixup(alpha=0.5))") == ids(
        "--methods", "crt(after=mixup)", "--set", "mixup.alpha=0.5"
    )
    changes = {"recipe.epochs": 2, "crt.after": "mixup"}
    cells = package.run(methods=["crt"], imbalance=[20], seeds=1, workers=1, changes=changes)
    assert set(cells.id) == chosen
    assert list(cells.method) == ["crt(after=mixup)"]
    assert (cells.features[0], cells.classifier[0]) == ("mixup", "crt")
    with pytest.raises(InputError, match="tau_norm has a linear classifier|corrects the class prior twice"):
        package.run(methods=["tau_norm(after=crt)"])


def test_a_killed_grid_continues(ltbench: Cli, suite: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = execution.train_stage, list[str]()

    def stopping(running: RunningStage, *rest: Any) -> State:
        calls.append(running.method.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(running, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "train_stage", stopping)
        assert ltbench("run", *suite).status == 130
    assert ltbench("run", *suite).status == 0
    assert ltbench("run", *suite, "--results", "whole").status == 0
    assert {r.id: numbers(r) for r in records().values()} == {r.id: numbers(r) for r in records("whole").values()}


def test_a_refused_entry_is_one_line_and_leaves_nothing_behind(ltbench: Cli, own_place: Path) -> None:
    refused = {
        "tau_norm(after=crt)": "tau_norm(after=crt): corrects the class prior twice",
        "tau_norm(after=ldam)": "tau_norm(after=ldam): ldam has a cosine classifier",
        "crt(after=ride)": "crt(after=ride): ride has 3 branches",
        "focal(after=ce)": "focal(after=ce): 'focal' continues from no other method",
        "crt(after=crt)": "method 'crt' comes after itself",
    }
    for entry, line in refused.items():
        answer = ltbench("run", "--methods", entry)
        assert answer.status == 2
        assert answer.err.startswith(f"ltbench: {line}")
        assert len(answer.err.splitlines()) == 1
    answer = ltbench("run", "--suite", "decoupling", "--as-published")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "a suite with 'after' cannot be trained as published" in answer.err
    assert list(own_place.iterdir()) == []


def test_the_suite_of_the_package_has_every_classifier_on_every_features(ltbench: Cli) -> None:
    answer = ltbench("run", "--suite", "decoupling", "--dry-run", "--json", "--seeds", "1", "--imbalance", "100")
    cells = json.loads(answer.out)
    features = {"ce", "mixup", "aux_random", "aux_rotation"}
    features |= {f"{kind}_sampling" for kind in ("square_root", "progressive", "class_balanced")}
    assert len(cells) == len(features) * 5 + 2  # joint, ncm, crt, lws, tau_norm; logit adjustment twice
    plan = Counter(cell["method"] for cell in cells)
    assert all(plan[name] == len(features) for name in ("ncm", "crt", "lws", "tau_norm"))
    assert not Store("results").latest()
