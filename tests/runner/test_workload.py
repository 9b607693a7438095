"""How long the training of cells takes, from the speeds of finished ones."""

import shutil
from collections.abc import Callable

import pytest

from ltbench.plan.expand import Planned, make_plan
from ltbench.plan.request import Request
from ltbench.results.store import Store
from ltbench.runner.workload import estimate_seconds
from tests.conftest import FAST, Answer


def cells(method: str) -> tuple[Planned, ...]:
    return make_plan(Request(methods=(method,), imbalance=("20",), seeds=(0,), changes={"recipe.epochs": 2})).cells


def test_an_estimate_counts_declared_cost_without_trained_stages(ltbench: Callable[..., Answer]) -> None:
    assert estimate_seconds(cells("ce"), Store("results")) is None
    assert ltbench("run", *FAST, "--methods", "ce").status == 0
    (record,) = Store("results").latest().values()
    seconds = record.finished.cost.train_seconds
    assert estimate_seconds(cells("sam"), Store("results")) == pytest.approx(2 * seconds)
    assert estimate_seconds(cells("crt"), Store("results")) == pytest.approx(0.05 * seconds)  # ce's stage is there
    shutil.rmtree("results/stages")
    assert estimate_seconds(cells("crt"), Store("results")) == pytest.approx(1.05 * seconds)
