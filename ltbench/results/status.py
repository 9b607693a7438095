"""What is done, running, failed and to do, from the store alone. Needs no torch."""

from collections import Counter
from typing import Any

from ltbench.results.store import Record, Store

STATES = ("done", "running", "failed", "to do")


def cell_states(store: Store, suite: str | None = None) -> list[dict[str, Any]]:
    """Every cell that a run was asked for, with its ``state`` and ``reason``, oldest plan first.

    Of cells with the same coordinates (a method was edited in between) only the newest is told.

    Args:
        store: where to look.
        suite: only this one.
    """
    records = store.latest()
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for plan in store.plans():
        for cell in plan["cells"]:
            coordinates = tuple(str(value) for key, value in cell.items() if key not in ("id", "row"))
            if suite in (None, plan["suite"]):
                newest[plan["suite"], *coordinates] = {"suite": plan["suite"]} | cell
    return [cell | _state(store, records.get(cell["id"]), cell["id"]) for cell in newest.values()]


def _state(store: Store, record: Record | None, cell: str) -> dict[str, Any]:
    if record is not None and record["status"] == "done":
        return {"state": "done", "reason": None}
    if store.is_locked(cell):
        return {"state": "running", "reason": None}
    if record is not None:
        return {"state": "failed", "reason": record["reason"]}
    return {"state": "to do", "reason": None}


def counts(cells: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each suite, how many cells are in each state."""
    by_suite: dict[str, Counter[str]] = {}
    for cell in cells:
        by_suite.setdefault(cell["suite"], Counter())[cell["state"]] += 1
    return {suite: {state: count[state] for state in STATES} for suite, count in by_suite.items()}
