"""Methods that begin with another share its training, and it makes no difference to their numbers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import ltbench
import ltbench.runner.one_cell as execution
from ltbench.engine.stage import RunningStage, State
from ltbench.results.record import Record
from ltbench.results.store import Store

AFTER = {
    "ce": ("crt", "lws", "tau_norm", "ncm", "logit_adjustment_posthoc"),
    "mixup": ("crt_mixup", "lws_mixup", "mislas"),
}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the stages of each method were trained."""
    found: Counter[str] = Counter()
    whole = execution.train_stage

    def counting(running: RunningStage, *rest: Any) -> State:
        found[running.method.name] += 1
        return whole(running, *rest)

    monkeypatch.setattr(execution, "train_stage", counting)
    return found


def run(results: str, *methods: str, **recipe: int) -> dict[str, Record]:
    """The records of these methods, one epoch each."""
    changes = {f"recipe.{name}": value for name, value in ({"epochs": 1} | recipe).items()}
    cells = ltbench.run(methods=methods, imbalance=[100], seeds=1, workers=1, changes=changes, results=results)
    assert set(cells.status) == {"done"}
    return {record.method: record for record in Store(results).latest().values() if record.id in set(cells.id)}


@pytest.mark.parametrize("first", AFTER)
def test_a_shared_first_stage_is_trained_once_and_changes_no_bit(first: str, trained: Counter[str]) -> None:
    together = run("together", first, *AFTER[first])
    assert trained == Counter([first, *AFTER[first]])
    for method in AFTER[first]:
        alone = run(method, method)[method]
        assert alone.id == together[method].id
        assert alone.finished.cost.reused_seconds == 0
        for part in ("evaluations", "losses", "hits", "protocols"):
            assert getattr(alone.finished, part) == getattr(together[method].finished, part)
        logits = [Store(results).arrays(alone)["logits"] for results in (method, "together")]
        assert np.array_equal(*logits)
    assert trained[first] == 1 + len(AFTER[first])


def test_a_test_curve_shares_the_stages_of_other_methods_and_changes_no_trained_number(trained: Counter[str]) -> None:
    seldom = run("together", "ce", "crt", epochs=4)
    assert trained == Counter(["ce", "crt"])
    (crt,) = run("together", "crt", epochs=4, evaluate_every=1, test_curve=True).values()
    assert trained == Counter(["ce", "crt", "crt"])  # the stage of ce is ready, whatever was evaluated in it
    assert crt.id != seldom["crt"].id
    assert crt.finished.hits == seldom["crt"].finished.hits
    often = run("together", "ce", epochs=4, evaluate_every=1, test_curve=True)["ce"].finished
    assert trained["ce"] == 2  # its stored stage lacks evaluations
    assert [evaluation.epoch for evaluation in often.evaluations if evaluation.test] == [1, 2, 3, 4]
    same = seldom["ce"].finished
    assert [evaluation.epoch for evaluation in same.evaluations] == [4]
    assert (often.losses, often.hits, often.last) == (same.losses, same.hits, same.last)
