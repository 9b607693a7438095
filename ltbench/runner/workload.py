"""What of a plan is still to be trained, in which order, and how long that takes."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ltbench.plan.expand import Plan, Planned
from ltbench.results.record import Record


def missing(plan: Plan, records: Mapping[str, Record]) -> list[Planned]:
    """The cells of a plan that have no finished record, given the latest records by id."""
    return [p for p in plan.cells if p.cell.id not in records or records[p.cell.id].result is None]


def longest_first(cells: Sequence[Planned]) -> list[Planned]:
    """The cells in the order that leaves the shortest wait at the end.

    A cell's work counts its whole chain, so a stage that several cells share begins with the longest of them.
    """
    return sorted(cells, key=lambda planned: -planned.work)


def estimate_seconds(cells: Sequence[Planned], records: Mapping[str, Record]) -> float | None:
    """Training time of cells from the speeds of finished ones; None where no finished cell is like them.

    Args:
        cells: still to be trained.
        records: the latest ones, by id.
    """

    def kind(recipe: Mapping[str, Any], image: Sequence[int]) -> tuple[Any, ...]:
        if recipe.get("frozen"):  # features take the place of the images
            return "frozen", recipe.get("pretrained"), recipe.get("precision")
        return recipe.get("backbone"), recipe.get("precision"), recipe.get("resized_crop"), *image

    speeds: dict[tuple[Any, ...], list[float]] = {}
    for record in records.values():
        if result := record.result:
            known = speeds.setdefault(kind(record.recipe_values, result.image), [])
            known.append(result.cost.images_per_second * result.cost.runs_together)
    seconds: dict[str, float] = {}
    for planned in cells:
        like = kind(planned.cell.recipe.identity(), planned.images.train.images.shape[1:])
        if like not in speeds:
            return None
        for stage in planned.stages:  # one that several cells share is trained once
            seconds[stage.id] = stage.epochs * stage.images / statistics.median(speeds[like])
    return sum(seconds.values())
