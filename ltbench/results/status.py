"""Which cells are done, running, failed or to do, and whether their code was edited since. Needs no torch."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ltbench.errors import unknown
from ltbench.method.source import Present
from ltbench.plan.suite import suite_names
from ltbench.results.record import Record
from ltbench.results.store import Store

STATES = ("done", "running", "failed", "to do")
SHOWN = 6
"""Names that one line shows at most."""


def cell_states(store: Store, suite: str | None = None) -> list[dict[str, Any]]:
    """Every cell that a run was asked for, with its ``state`` and the ``reason`` of a failure, oldest plan first.

    Of cells with the same coordinates (the source code was edited in between) only the newest is listed.

    Args:
        store: where to look.
        suite: only this one.
    """
    records = store.latest()
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for plan in store.plans():
        for cell in plan["cells"]:
            coordinates = tuple(str(value) for key, value in cell.items() if key not in ("id", "row", "trained_under"))
            if suite in (None, plan["suite"]):
                newest[plan["suite"], *coordinates] = {"suite": plan["suite"]} | cell
    return [cell | _state(store, records.get(cell["id"]), cell["id"]) for cell in newest.values()]


def ids_of(suite: str | None, store: Store) -> set[str] | None:
    """Ids of the cells of a suite; None, which means all cells, where no suite is named.

    Raises:
        InputError: for an unknown suite.
    """
    return None if suite is None else {cell["id"] for cell in cell_states(store, known_suite(suite, store))}


def known_suite(suite: str, store: Store) -> str:
    """The name of a suite that was run or that exists; raises InputError for any other."""
    known = {str(plan["suite"]) for plan in store.plans()} | set(suite_names())
    if suite not in known:
        raise unknown("suite", suite, known)
    return suite


def _state(store: Store, record: Record | None, cell: str) -> dict[str, Any]:
    if record is not None and record.result is not None:
        return {"state": "done", "reason": None}
    if store.is_locked(cell):
        return {"state": "running", "reason": None}
    if record is not None:
        return {"state": "failed", "reason": record.reason}
    return {"state": "to do", "reason": None}


def counts(cells: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each suite, how many cells are in each state."""
    by_suite: dict[str, Counter[str]] = {}
    for cell in cells:
        by_suite.setdefault(cell["suite"], Counter())[cell["state"]] += 1
    return {suite: {state: count[state] for state in STATES} for suite, count in by_suite.items()}


class Sources:
    """Compares the code of records with the code at hand.

    Args:
        folders: with method files, besides the built-in methods and ``./methods``.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._present = Present(folders)
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    def changes(self, record: Record) -> dict[str, str]:
        """The pieces of source code that a record depends on and that are not as they were; see `Present.changes`."""
        key = (record.engine, *(link.source for link in record.chain))
        if key not in self._known:
            self._known[key] = self._present.changes(record.sources)
        return self._known[key]


def is_stale(changes: Mapping[str, str]) -> bool:
    """Whether code was edited since. Where only files are missing, nothing is known, and a result counts."""
    return any(kind != "no file" for kind in changes.values())


def with_changes(cells: Iterable[dict[str, Any]], store: Store, folders: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """The same cells, each with ``changed``.

    Args:
        cells: from `cell_states`.
        store: where their records are.
        folders: with method files, besides the built-in methods and ``./methods``.

    Returns:
        In ``changed`` the pieces of source code that a finished cell depends on and that are not as they were, by name;
        see `Present.changes`.
    """
    records, sources = store.latest(), Sources(folders)
    done = {cell: record for cell, record in records.items() if record.result is not None}
    return [cell | {"changed": sources.changes(done[cell["id"]]) if cell["id"] in done else {}} for cell in cells]


def none_to_show(results: Path, stale: int) -> str:
    """The line where a results folder has nothing to show: no result at all, or only so many stale ones."""
    if not stale:
        return f"no results in {results} yet; make some with ltbench run"
    which = "its only result is stale" if stale == 1 else f"all its {stale} results are stale"
    return (
        f"nothing to show from {results}: {which}; train again with ltbench run, or check out the revision of old ones"
    )


def stale_lines(cells: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """One line for each edit of the source code, or set of edits, that makes the same results stale.

    Args:
        cells: the method of each, and the changes of its code (see `Sources.changes`).
    """
    stale = [cell for cell in cells if cell[1]]
    by_piece: dict[tuple[str, str], list[int]] = {}
    for place, cell in enumerate(stale):
        for change in cell[1].items():
            by_piece.setdefault(change, []).append(place)
    edits: dict[tuple[int, ...], dict[str, list[str]]] = {}
    for (piece, kind), places in by_piece.items():
        edits.setdefault(tuple(places), {}).setdefault(kind, []).append(piece)
    lines = []
    for among, kinds in edits.items():
        methods = sorted({stale[place][0] for place in among})
        why = "; ".join(f"{kind}: {_shortened(pieces)}" for kind, pieces in sorted(kinds.items()))
        plural = "s" if len(among) > 1 else ""
        if kinds.keys() == {"no file"}:
            lines.append(f"not compared with the code: {len(among)} cell{plural} of {_shortened(methods)} ({why})")
        else:
            lines.append(f"stale: {len(among)} cell{plural} of {_shortened(methods)} ({why})")
    if any("no file" in changes.values() for _, changes in stale):
        lines.append("Name the folders of method files that are not in ./methods with --methods-dir.")
    return lines


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
