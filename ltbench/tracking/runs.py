"""The shape of what MLflow should hold: experiments of runs. Needs neither torch nor mlflow."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from ltbench.plan.cell import digest
from ltbench.results.record import Record
from ltbench.tracking.views import View

FORMAT = 2
"""Raise this when the same records should give other runs or files."""

SOURCE = {"mlflow.source.name": "ltbench", "mlflow.source.type": "LOCAL"}


class Point(NamedTuple):
    """A value of a metric; ``step`` counts the epochs of the method's own stages."""

    metric: str
    value: float
    step: int


class Data(NamedTuple):
    """The long-tailed training split that a run was trained on."""

    name: str
    digest: str
    profile: str

    @classmethod
    def of(cls, record: Record) -> "Data":
        """The data of a cell; ``profile`` holds the number of images of each class."""
        counts = list(record.result.class_counts) if record.result else []
        cut = [record.fingerprint, record.imbalance, record.subset_seed, record.holdout]
        profile = json.dumps({"images": sum(counts), "classes": counts or None})
        return cls(f"{record.dataset}, {record.imbalance}", digest(cut), profile)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as MLflow should hold it.

    Attributes:
        kind: ``summary``, ``seed``, ``study`` or ``trial``.
        key: identifies it within its kind.
        tags: without those that `sync` adds.
        metrics: final values.
        curves: values during training; the last one of a metric is its final value.
        files: functions that make the artifacts, by path.
        made_of: everything that the content of ``files`` depends on.
        data: the training split.
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
    data: Data | None = None
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
