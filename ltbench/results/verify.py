"""Checks of stored results: from arrays to metrics to identity, code and data. Needs no torch."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.data import load
from ltbench.errors import InputError
from ltbench.metrics import metrics_of
from ltbench.plan.cell import digest, row_identity
from ltbench.plan.repeat import request_of
from ltbench.results.record import Measured, Record
from ltbench.results.status import Sources, is_stale, stale_lines
from ltbench.results.store import Store


class Verifier:
    """Derives again what can be derived without training.

    Args:
        store: the results.
        methods_dirs: folders with method files, besides ``./methods``.
    """

    def __init__(self, store: Store, methods_dirs: Sequence[Path] = ()) -> None:
        self.store = store
        self._sources = Sources(methods_dirs)
        self._fingerprints: dict[tuple[str, ...], str | InputError] = {}

    def problems(self, record: Record) -> list[str]:
        """What is wrong with the record of a finished cell, one line each; empty where everything agrees."""
        checks: tuple[Callable[[Record], Iterator[str]], ...] = (self._identity, self._arrays, self._code, self._data)
        return [problem for check in checks for problem in check(record)]

    def _identity(self, record: Record) -> Iterator[str]:
        """The id follows from the settings."""
        data = [record.engine, record.fingerprint, record.imbalance, record.subset_seed, record.holdout]
        row = row_identity(data, record.recipe_values, record.chain, record.trials)
        if (record.row, record.id) != (row, digest([row, record.seed])):
            yield "the id does not follow from the settings of the record"

    def _arrays(self, record: Record) -> Iterator[str]:
        """The metrics follow from the predictions, and these are the ones that were stored with the record."""
        result = record.finished
        try:
            arrays = self.store.arrays(record)
        except InputError as error:
            yield str(error)
            return
        found = _metrics(arrays, result.class_counts)
        if found is None:
            yield "the predictions do not have the form that ltbench stores"
            return
        stored = result.last.model_dump(exclude={"epoch"})
        if other := [name for name, value in stored.items() if value != found[name]]:
            yield f"metrics differ from those of the predictions: {', '.join(other)}"
        final = getattr(result.evaluations[-1], result.measured_on)
        if final != Measured(**{name: value for name, value in stored.items() if name != "hits"}):
            yield "the last evaluation differs from the metrics that are reported"

    def _code(self, record: Record) -> Iterator[str]:
        """The code at hand is that of the record."""
        changes = self._sources.changes(record)
        if is_stale(changes):
            yield from stale_lines([(record.method, changes)])

    def _data(self, record: Record) -> Iterator[str]:
        """The images at hand are those of the record; images that are not there cannot be compared."""
        try:
            request, _ = request_of(record.command)
        except InputError as error:
            yield str(error)
            return
        (name,), places = request.datasets or (), request.data
        size, interpolation = (record.recipe_values.get(value) for value in ("image_size", "interpolation"))
        key = (name, str(size), str(interpolation), *(f"{a}={b}" for a, b in places.items()))
        if key not in self._fingerprints:
            try:
                self._fingerprints[key] = load(name, size, places, interpolation).fingerprint
            except InputError as error:
                self._fingerprints[key] = error
        found = self._fingerprints[key]
        if isinstance(found, str) and found != record.fingerprint:
            yield f"the images of {name} are others (fingerprint {found}, in the record {record.fingerprint})"

    @property
    def not_checked(self) -> list[str]:
        """Lines on what could not be compared."""
        missing = [error for error in self._fingerprints.values() if isinstance(error, InputError)]
        return [f"images not compared: {error}" for error in missing]


def _metrics(arrays: dict[str, NDArray[Any]], counts: Sequence[int]) -> dict[str, Any] | None:
    """The metrics of stored predictions; None where an array is missing or has another shape."""
    try:
        images = np.stack([arrays[name].astype(np.float32) for name in ("predicted", "confidence", "nll", "brier")])
        return metrics_of(images, arrays["labels"].astype(np.int64), counts)
    except (KeyError, ValueError, IndexError):
        return None
