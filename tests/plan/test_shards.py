"""``--shard``: machines share the cells of a plan, and no stage is trained twice."""

import itertools

import pytest

from ltbench.plan.expand import Planned, make_plan
from ltbench.plan.request import Request
from ltbench.plan.shards import shard


@pytest.fixture(scope="module")
def cells() -> tuple[Planned, ...]:
    """Every method, on two imbalance factors with three seeds."""
    return make_plan(Request(suite="quickstart", methods=("all",))).cells


def test_every_cell_is_in_one_shard(cells: tuple[Planned, ...]) -> None:
    for parts in (1, 4, 500):
        found = [planned.cell.id for part in range(1, parts + 1) for planned in shard(cells, part, parts)]
        assert sorted(found) == sorted(planned.cell.id for planned in cells)


def test_no_stage_is_in_two_shards_and_the_work_is_divided_evenly(cells: tuple[Planned, ...]) -> None:
    stages = [{s.id: s.work for p in shard(cells, part, 4) for s in p.stages} for part in (1, 2, 3, 4)]
    assert all(one.keys().isdisjoint(other) for one, other in itertools.combinations(stages, 2))
    work = [sum(of_shard.values()) for of_shard in stages]
    assert max(work) < 1.05 * min(work)
    dealt = [{s.id for p in cells[part::4] for s in p.stages} for part in range(4)]
    assert any(one & other for one, other in itertools.combinations(dealt, 2))  # dealing the cells out would share some


def test_the_work_of_a_cell_is_its_declared_cost(cells: tuple[Planned, ...]) -> None:
    for planned in cells:
        plain = sum(planned.counts) * planned.cell.recipe.epochs
        assert planned.work == pytest.approx(planned.cell.relative_cost * plain)
