"""What of a plan is still to be trained, in which order, and how long that takes."""

import functools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ltbench.plan.expand import Plan, Planned
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.progress import Work


def missing(plan: Plan, records: Mapping[str, Record]) -> list[Planned]:
    """The cells of a plan that have no finished record, given the latest records by id."""
    return [p for p in plan.cells if p.cell.id not in records or records[p.cell.id].result is None]


def longest_first(cells: Sequence[Planned]) -> list[Planned]:
    """The cells in the order that leaves the shortest wait at the end.

    A cell's work counts its whole chain, so a stage that several cells share begins with the longest of them.
    """
    return sorted(cells, key=lambda planned: -planned.work)


def untrained(cells: Iterable[Planned], store: Store) -> Work:
    """For each cell, by name, the stages that the results folder does not have."""

    @functools.cache
    def there(stage: str) -> bool:
        return store.stage_path(stage).exists()

    return {str(p.cell): [stage for stage in p.stages if not there(stage.id)] for p in cells}


def estimate_seconds(cells: Sequence[Planned], store: Store) -> float | None:
    """Training time of cells from the speeds of finished ones; None where no finished cell is like them.

    Args:
        cells: without a finished record.
        store: of the results.
    """

    def kind(recipe: Mapping[str, Any], image: Sequence[int]) -> tuple[Any, ...]:
        if recipe.get("frozen"):  # features take the place of the images
            return "frozen", recipe.get("pretrained"), recipe.get("precision")
        return recipe.get("backbone"), recipe.get("precision"), recipe.get("resized_crop"), *image

    speeds: dict[tuple[Any, ...], list[float]] = {}
    for record in store.latest().values():
        if result := record.result:
            known = speeds.setdefault(kind(record.recipe_values, result.image), [])
            work = result.cost.relative_cost * sum(result.class_counts) * record.recipe_values["epochs"]
            known.append(work / max(result.cost.train_seconds, 1e-9) * result.cost.runs_together)
    left, seconds = untrained(cells, store), dict[str, float]()
    for planned in cells:
        like = kind(planned.cell.recipe.identity(), planned.images.train.images.shape[1:])
        if like not in speeds:
            return None
        for stage in left[str(planned.cell)]:  # one that several cells share is trained once
            seconds[stage.id] = stage.work / statistics.median(speeds[like])
    return sum(seconds.values())
