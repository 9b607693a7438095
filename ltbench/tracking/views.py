"""Views of an experiment that MLflow's page opens with: which runs, in which order, which columns.

MLflow keeps a view in a tag of the experiment, ``mlflow.sharedViewState.<key>``, and an address that ends with
``?viewStateShareKey=<key>`` opens it. Older versions take the tag for the state itself, newer
ones for an envelope with a name and the state as text. What is written here is both.
"""

import json
from typing import Any

from ltbench.cell import digest
from ltbench.tracking.projection import MAIN_METRIC, Experiment

PREFIX = "mlflow.sharedViewState."
LEADERBOARD = "leaderboard"
COLUMNS = [
    "params.`dataset`",
    "params.`imbalance`",
    "tags.`standing`",
    f"metrics.`{MAIN_METRIC}`",
    "metrics.`test/interval`",
    "metrics.`test/many`",
    "metrics.`test/medium`",
    "metrics.`test/few`",
    "metrics.`test/ece`",
    "metrics.`cost/relative_cost`",
    "metrics.`cost/train_seconds`",
    "metrics.`seeds`",
    "params.`trials`",
]


def table_key(name: str) -> str:
    """The key of the view of one table."""
    return digest(name)


def tags(experiment: Experiment) -> dict[str, str]:
    """The tags of an experiment that hold its views: the leaderboard, each of its tables, the seeds by method."""
    summaries = "tags.kind = 'summary'"
    groups = [{"mode": "param", "groupByData": name} for name in ("method", "dataset", "imbalance", "recipe")]
    by_method = {"aggregateFunction": "average", "groupByKeys": groups}
    views = {
        LEADERBOARD: _view("Leaderboard", summaries, COLUMNS),
        **{table_key(name): _view(name, found_by, COLUMNS[2:]) for name, found_by in experiment.tables.items()},
        "seeds": _view("Seeds, by method", "tags.kind = 'seed'", [COLUMNS[3], *COLUMNS[5:11]], groupBy=by_method),
    }
    return {PREFIX + key: view for key, view in views.items()}


def _view(name: str, found_by: str, columns: list[str], **more: Any) -> str:
    state = {
        "searchFilter": found_by,
        "orderByKey": f"metrics.`{MAIN_METRIC}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: 40 + 7 * len(column.split("`")[1]) for column in columns},
        "runsHiddenMode": "SHOW_ALL",
        **more,
    }
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)} | state)


def page(base: str, experiment_id: str, key: str) -> str:
    """The address of a view on a server."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={key}"
