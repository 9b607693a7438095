"""The shape of what MLflow should hold: experiments of runs. Needs neither torch nor mlflow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from ltbench.plan.cell import digest
from ltbench.tracking.datasets import Data
from ltbench.tracking.views import View

FORMAT = 3
"""Raise this when the same records should give other runs or files."""

SOURCE = {"mlflow.source.name": "ltbench", "mlflow.source.type": "LOCAL"}


class Point(NamedTuple):
    """A value of a metric.

    Attributes:
        step: the epoch, counted over the method's own stages; for samples of the machine, seconds since the start.
        time: in ms since 1970; None: it is not known.
    """

    metric: str
    value: float
    step: int
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as MLflow should hold it.

    Attributes:
        kind: ``table``, ``summary``, ``seed``, ``study``, ``trial`` or ``machine``.
        key: identifies it within its kind.
        tags: without those that `sync` adds.
        metrics: final values.
        curves: values during training; the last one of a metric is its final value.
        files: functions that make the artifacts, by path.
        made_of: everything that the content of ``files`` depends on.
        data: the splits that it was trained and measured on.
        model: id of the cell that ``ltbench sync --models`` logs as the model of this run.
        times: start and end in ms since 1970.
        parent: kind and key of the run that it belongs to.
    """

    kind: str
    key: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: tuple[Point, ...] = ()
    files: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    made_of: Any = None
    data: tuple[Data, ...] = ()
    model: str | None = None
    times: tuple[int, int] = (0, 0)
    status: str = "FINISHED"
    parent: str | None = None

    @cached_property
    def digest(self) -> str:
        """Hash of everything but the files."""
        content = (FORMAT, self.name, self.params, self.tags, self.metrics, self.curves, self.times, self.status)
        return digest(content)

    @cached_property
    def files_digest(self) -> str:
        """Hash that changes when the files should."""
        return digest((FORMAT, sorted(self.files), self.made_of))


@dataclass(frozen=True)
class Experiment:
    """An experiment as MLflow should hold it; ``views`` by the keys of their addresses, the main one first."""

    name: str
    note: str
    metric: str
    runs: tuple[Run, ...]
    views: Mapping[str, View]


def milliseconds(created: str) -> int:
    """The time of a record in ms since 1970."""
    return round(1000 * datetime.fromisoformat(created).timestamp())
