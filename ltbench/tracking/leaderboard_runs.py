"""The runs of the leaderboard: one experiment a suite, one run a row, one run a cell.

Computed from the store alone, without torch or mlflow, and the same each time.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from ltbench.plan.cell import digest
from ltbench.results import diagnostics
from ltbench.results.leaderboard import COSTS, METRICS, OF_HITS, TABLE, leaderboard, load_results
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.show.columns import COLUMNS, columns_of
from ltbench.show.tables import shots_note, title
from ltbench.tracking.address import EXPERIMENT
from ltbench.tracking.commits import commits
from ltbench.tracking.datasets import splits_of
from ltbench.tracking.runs import SOURCE, Experiment, Point, Run, milliseconds
from ltbench.tracking.table_runs import key_of, table_run
from ltbench.tracking.views import View

MAIN_METRIC = "test/balanced_accuracy"
STORED = dict.fromkeys(
    [
        *(column.key for column in COLUMNS if not column.words),
        *METRICS,
        *COSTS,
        "interval",
        "rank",
        "difference_to_best",
        "failed",
    ]
)
"""Columns of the leaderboard that are metrics of a summary run."""


def metric_name(key: str) -> str:
    """The name in MLflow of a column of the leaderboard."""
    if key in COSTS:
        return f"cost/{key}"
    return f"test/{key}" if key in (*METRICS, *OF_HITS, "relative_accuracy", "interval") else key


def _view_columns(board: pd.DataFrame) -> tuple[str, ...]:
    """The columns that a view shows of these rows: those of the printed tables, and three that MLflow needs besides."""
    first, *rest = (
        f"tags.{column.key}" if column.words else f"metrics.{metric_name(column.key)}" for column in columns_of(board)
    )
    return ("tags.standing", first, "metrics.test/interval", *rest, "params.trials")


def suite_experiments(store: Store) -> Iterator[Experiment]:
    """An experiment for each suite, and one for each recipe of results that belong to no known suite.

    Where ``MLFLOW_EXPERIMENT_NAME`` is set, all results are in the experiment of this name.

    Raises:
        InputError: for a record that cannot be read.
    """
    records = store.latest()
    suites: dict[str, set[str]] = {}
    for plan in store.plans():
        suites.setdefault(plan["suite"], set()).update(cell["id"] for cell in plan["cells"])
    if name := os.environ.get(EXPERIMENT):
        suites = {name: set(records)}
    known = set[str]().union(*suites.values())
    for cell, record in records.items():
        if cell not in known:
            suites.setdefault(f"recipe {record.recipe}", set()).add(cell)
    for name, ids in suites.items():
        if ids & records.keys():
            found = load_results(store, "last", ids)
            if len(cells := found[found.status != "stale"]):
                yield _experiment(name, cells, records)


def _experiment(name: str, cells: pd.DataFrame, records: Mapping[str, Record]) -> Experiment:
    board = leaderboard(cells)
    runs: list[Run] = []
    columns = _view_columns(board)
    every = View("Leaderboard", "tags.kind = 'summary'", MAIN_METRIC, ("params.dataset", "params.imbalance", *columns))
    tables = {"leaderboard": every}
    made_by = commits()
    for _, part in board.groupby(TABLE, sort=False):
        rows = cells.merge(part[[*TABLE, "method"]], on=[*TABLE, "method"])
        table = View(title(part.iloc[0]), _filter(part.iloc[0]), MAIN_METRIC, _view_columns(part))
        tables[digest(table.name)] = table
        of_method = {method: [records[cell] for cell in group.id] for method, group in rows.groupby("method")}
        runs.append(table_run(part, rows, records))
        for place, (_, row) in enumerate(part.iterrows()):
            runs.append(_summary(row, of_method[row.method], made_by, best=place == 0 and pd.notna(row["rank"])))
    runs += [_seed(records[row.id], _key(row), made_by) for _, row in cells.iterrows()]
    shots = " ".join(f"many / medium / few: {shots_note(shots)}." for shots in dict.fromkeys(board.shots))
    note = (
        "Made by `ltbench sync` from the results folder, which decides. Runs of kind `summary` are the rows of "
        "the leaderboard (means over seeds at the last epoch; 95 % intervals), those of kind `seed` single trainings, "
        "those of kind `table` have the plots of a table. "
        f"Only rows of the same data set, imbalance and recipe may be compared. {shots}"
    )
    of_seeds = tuple(f"metrics.{metric_name(c.key)}" for c in columns_of(board) if c.key in (*METRICS, *COSTS))
    by_method = View("Seeds", "tags.kind = 'seed'", MAIN_METRIC, of_seeds, ("method", "dataset", "imbalance", "recipe"))
    return Experiment(name, note, MAIN_METRIC, tuple(runs), tables | {"seeds": by_method})


def _key(row: pd.Series) -> str:
    """Of a row of the leaderboard."""
    return digest([str(row[name]) for name in [*TABLE, "method"]])


def _filter(row: pd.Series) -> str:
    """The expression that finds the summary runs of a row's table."""
    names = ("dataset", "imbalance", "recipe", "subset_seed", "holdout")
    return " and ".join(["tags.kind = 'summary'", *(f"params.{name} = '{_quoted(row[name])}'" for name in names)])


def _quoted(value: object) -> str:
    return str(value).replace("'", "''")


def _summary(row: pd.Series, records: list[Record], made_by: Mapping[str, str], best: bool) -> Run:
    """A row of the leaderboard.

    Args:
        row: the row.
        records: of its seeds, finished or failed.
        made_by: the commit of each method's file.
        best: whether its model may be logged: that of its first seed, since no choice uses the test set.
    """
    done = [record for record in records if record.result]
    like = (done or records)[0]
    values = {metric_name(key): row[key] for key in STORED}
    compared = "behind" if pd.notna(row.p_to_best) else "not compared" if row.seeds else "failed"
    standing = "best" if row.best else "tied" if row.tied else compared
    tags = _tags(like, done, made_by) | {
        **SOURCE,
        "standing": standing,
        "interval_from": str(row.interval_from) if row.seeds else "",
        "reason": str(row.reason) if row.failed else "",
        "paper_source": next(
            (str(source) for source in (row.paper_source, row.published_source) if pd.notna(source)), ""
        ),
        "verdict": str(row.verdict) if pd.notna(row.verdict) else "",
        "mlflow.note.content": _note(row, like, standing),
    }
    ends = [milliseconds(record.created) for record in records]
    return Run(
        kind="summary",
        key=_key(row),
        name=row.method,
        params=_params(like),
        tags=tags,
        metrics={name: float(value) for name, value in values.items() if pd.notna(value)},
        files={"per_class.csv": lambda: per_class(done)} if done else {},
        made_of=sorted((record.id, record.created) for record in records),
        data=splits_of(like),
        model=min(done, key=lambda record: record.seed).id if best and done else None,
        times=(min(ends), max(ends)),
        status="FINISHED" if row.seeds else "FAILED",
        parent=f"table:{key_of(row)}",
    )


def _note(row: pd.Series, like: Record, standing: str) -> str:
    if not row.seeds:
        return f"**{row.method}** failed on {title(row)}: {row.reason}"
    spread = f" ± {row.interval:.1f}" if pd.notna(row.interval) else ""
    over = f"over {row.seeds} seeds" if row.interval_from == "seeds" else "over the test images of one seed"
    return (
        f"**{row.method}**, {title(row)}: {row.balanced_accuracy:.1f}{spread} % balanced accuracy "
        f"(95 % interval {over}); {standing}.\n\nTo repeat seed {like.seed}: `{like.command}`"
    )


def _seed(record: Record, parent: str, made_by: Mapping[str, str]) -> Run:
    """One cell, finished or failed; ``parent`` is the key of its summary."""
    end, result = milliseconds(record.created), record.result
    metrics: dict[str, float] = {}
    files: dict[str, Callable[[], bytes]] = {"record.json": lambda: record.model_dump_json(indent=1).encode()}
    if result:
        measured = {f"test/{name}": getattr(result.last, name) for name in METRICS}
        costs = {f"cost/{name}": getattr(result.cost, name) for name in COSTS}
        metrics = {name: float(value) for name, value in (measured | costs).items() if value is not None}
        files["per_class.csv"] = lambda: per_class([record])
    tags = {"cell": record.id, "reason": record.reason or "", **SOURCE, "command": record.command}
    return Run(
        kind="seed",
        key=record.id,
        name=f"{record.entry} · {record.imbalance} · seed {record.seed}",
        params=_params(record) | {"seed": str(record.seed)},
        tags=_tags(record, [record] if result else [], made_by) | tags,
        metrics=metrics,
        curves=tuple(Point(*point) for point in diagnostics.history(result)) if result else (),
        files=files,
        made_of=record.created,
        data=splits_of(record),
        times=(end - round(1000 * result.cost.wall_seconds) if result else end, end),
        status="FINISHED" if result else "FAILED",
        parent=f"summary:{parent}",
    )


def _params(record: Record) -> dict[str, str]:
    """The parameters that people filter and group by."""
    names = ("dataset", "imbalance", "recipe", "subset_seed", "holdout", "trials")
    return (
        {
            "method": record.entry,
            **{name: str(getattr(record, name)) for name in names},
            "features": record.features,
            "classifier": record.classifier,
        }
        | ({"trained_under": record.trained_under} if record.trained_under else {})
        | _settings(record)
    )


def _settings(record: Record) -> dict[str, str]:
    """Every field of the recipe and every hyper-parameter of the chain that is set, named as in ``--set``."""
    values = {f"recipe.{name}": value for name, value in record.recipe_values.items()}
    values |= {f"{link.method}.{name}": value for link in record.chain for name, value in link.hyperparameters.items()}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _tags(record: Record, done: list[Record], made_by: Mapping[str, str]) -> dict[str, str]:
    """Identities, and where the finished records were trained; several values with commas."""

    def environments(name: str) -> str:
        return ", ".join(dict.fromkeys(str(getattr(one.finished.environment, name)) for one in done))

    return {
        "protocol": "last",
        "data": record.fingerprint,
        "recipe_hash": digest(record.recipe_values),
        "method_source": record.chain[-1].source,
        "method_commit": made_by.get(record.method, ""),
        "device": environments("device_name"),
        "torch": environments("torch"),
        "mlflow.source.git.commit": environments("revision"),
    }


def per_class(records: list[Record]) -> bytes:
    """A table of the classes as CSV: sizes, and the accuracy in percent of each seed and their mean."""
    records = sorted(records, key=lambda record: record.seed)
    results = [record.finished for record in records]
    sizes = {"train_images": results[0].class_counts, "test_images": results[0].test_counts}
    recalls = diagnostics.recalls(results)
    seeds = {f"seed_{record.seed}": recall for record, recall in zip(records, recalls, strict=True)}
    mean = {"mean": recalls.mean(axis=0)} if len(records) > 1 else {}
    frame = pd.DataFrame({**sizes, **seeds, **mean}).rename_axis("class")
    return frame.to_csv(float_format="%.2f", lineterminator="\n").encode()
