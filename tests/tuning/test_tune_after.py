"""Tuning of a classifier on the features of another method: a study and a row of its own."""

import json
import shlex
from collections.abc import Callable

from ltbench.results.store import Store
from tests.conftest import Answer, numbers, records

Cli = Callable[..., Answer]
SMALL = ("--imbalance", "20", "--set", "recipe.epochs=1", "--workers", "1", "--threads", "1")


def test_a_classifier_is_tuned_on_the_features_that_its_entry_names(ltbench: Cli) -> None:
    methods = ("--methods", "crt,crt(after=mixup)")
    answer = ltbench("tune", *SMALL, *methods, "--trials", "2", "--json")
    assert answer.status == 0, answer.err
    studies = {study["method"]: study for study in json.loads(answer.out)}
    assert set(studies) == {"crt", "crt(after=mixup)"}
    assert studies["crt(after=mixup)"]["facts"]["sources"].keys() == {"mixup", "crt"}
    trials = Store("results/tuning").latest().values()
    assert {tuple(link.method for link in record.chain) for record in trials} == {("ce", "crt"), ("mixup", "crt")}

    assert ltbench("run", *SMALL, *methods, "--tuned", "--seeds", "1").status == 0
    tuned = {record.entry: record for record in records().values() if record.trials}
    assert set(tuned) == {"crt (tuned 2)", "crt(after=mixup) (tuned 2)"}
    rows = json.loads(ltbench("leaderboard", "--json").out)
    assert {row["method"] for row in rows} == {*tuned, "crt", "crt(after=mixup)"}
    record = tuned["crt(after=mixup) (tuned 2)"]
    assert "--methods 'crt(after=mixup)' --tuned" in record.command
    assert ltbench("verify", record.id, "--retrain").status == 0
    assert shlex.split(record.command)[0] == "ltbench"
    assert numbers(record) == numbers(records()[record.id])


def test_other_values_are_still_fixed_with_set(ltbench: Cli) -> None:
    answer = ltbench("tune", *SMALL, "--methods", "crt(after=mixup, lr=0.05)", "--trials", "1")
    assert answer.status == 2
    assert "method entry 'crt(after=mixup, lr=0.05)' has its own values" in answer.err
