"""Methods that begin with another share its training, and it makes no difference to their numbers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import ltbench
import ltbench.runner.one_cell as execution
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

    def counting(net: Any, method: Any, *rest: Any) -> Any:
        found[method.name] += 1
        return whole(net, method, *rest)

    monkeypatch.setattr(execution, "train_stage", counting)
    return found


def run(results: str, *methods: str) -> dict[str, dict[str, Any]]:
    """The records of these methods, one epoch each."""
    cells = ltbench.run(methods=methods, imbalance=[100], seeds=1, changes={"recipe.epochs": 1}, results=results)
    assert set(cells.status) == {"done"}
    return {record["method"]: record for record in Store(results).latest().values()}


@pytest.mark.parametrize("first", AFTER)
def test_a_shared_first_stage_is_trained_once_and_changes_no_bit(first: str, trained: Counter[str]) -> None:
    together = run("together", first, *AFTER[first])
    assert trained == Counter([first, *AFTER[first]])
    for method in AFTER[first]:
        alone = run(method, method)[method]
        assert alone["id"] == together[method]["id"]
        assert alone["cost"]["reused_seconds"] == 0
        for part in ("evaluations", "losses", "hits", "protocols"):
            assert alone[part] == together[method][part]
        logits = [Store(results).arrays(alone["id"])["logits"] for results in (method, "together")]
        assert np.array_equal(*logits)
    assert trained[first] == 1 + len(AFTER[first])
