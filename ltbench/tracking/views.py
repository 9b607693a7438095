"""Saved views of an experiment on MLflow's page: which runs, in which order, with which columns.

MLflow stores a view in a tag of the experiment, ``mlflow.sharedViewState.<key>``; an address that ends with
``?viewStateShareKey=<key>`` opens it. Older versions read the tag as the state itself, newer ones as an envelope with a
name and the state as text. The tags written here are valid as both.
"""

import json
from dataclasses import dataclass
from typing import Any

PREFIX = "mlflow.sharedViewState."


@dataclass(frozen=True)
class View:
    """A view of an experiment's runs, the largest value of a metric first.

    Attributes:
        found_by: MLflow's filter expression.
        metric: sorts the runs.
        columns: ``metrics.NAME``, ``params.NAME`` or ``tags.NAME``.
        grouped_by: parameters; a group shows the means of its runs.
    """

    name: str
    found_by: str
    metric: str
    columns: tuple[str, ...]
    grouped_by: tuple[str, ...] = ()

    def tag(self) -> str:
        """The value of the tag that stores the view."""
        columns = {_column(name): 40 + 7 * len(name.partition(".")[2]) for name in self.columns}
        groups = [{"mode": "param", "groupByData": name} for name in self.grouped_by]
        state: dict[str, Any] = {
            "searchFilter": self.found_by,
            "orderByKey": _column(f"metrics.{self.metric}"),
            "orderByAsc": False,
            "selectedColumns": list(columns),
            "columnOrder": list(columns),
            "columnWidths": columns,
            "runsHiddenMode": "SHOW_ALL",
            "groupBy": {"aggregateFunction": "average", "groupByKeys": groups} if groups else None,
        }
        return json.dumps({"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)} | state)


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"


def page(base: str, experiment_id: str, key: str) -> str:
    """The address of a view on a server."""
    return (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={key}"
    )
