"""MLflow on the command line; what is in MLflow afterwards is tested in ``tests/tracking``."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer


def test_sync_counts_the_runs(ltbench: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltbench.tracking.sync.sync", lambda store: Counter(new=3, same=2))
    Path("results").mkdir()
    assert ltbench("sync").out == "MLflow runs: 3 new, 0 changed, 0 deleted, 2 unchanged\n"
