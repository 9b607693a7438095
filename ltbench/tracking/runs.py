"""Records to what MLflow should hold: one experiment a suite, one run a row of its leaderboard, one run a cell.

Everything here is computed from the store alone, needs neither torch nor mlflow, and is the same each time.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import pandas as pd

from ltbench.plan.cell import digest
from ltbench.results.leaderboard import COSTS, METRICS, TABLE, leaderboard, load_results
from ltbench.results.store import Record, Store
from ltbench.show.tables import render, shots_note, title
from ltbench.tracking.views import View

FORMAT = 2
"""Raised whenever other runs or files would be made of the same records."""

MAIN_METRIC = "test/balanced_accuracy"
COLUMNS = (
    "tags.standing",
    f"metrics.{MAIN_METRIC}",
    "metrics.test/interval",
    "metrics.test/many",
    "metrics.test/medium",
    "metrics.test/few",
    "metrics.test/ece",
    "metrics.cost/relative_cost",
    "metrics.cost/train_seconds",
    "metrics.seeds",
    "params.trials",
)
MEASURED = (*METRICS, "worst_class", "harmonic_mean", "relative_accuracy")
STANDING = {
    "interval": "test/interval",
    "rank": "rank",
    "difference_to_ce": "difference_to_ce",
    "p_to_ce": "p_to_ce",
    "difference_to_best": "difference_to_best",
    "p_to_best": "p_to_best",
    "seeds": "seeds",
    "failed": "failed",
    "paper": "paper",
}
"""Columns of the leaderboard that are no means over seeds, and the metric that each becomes."""

SOURCE = {"mlflow.source.name": "ltbench", "mlflow.source.type": "LOCAL"}


class Point(NamedTuple):
    """A value of a metric; ``step`` counts the epochs of the method's own stages."""

    metric: str
    value: float
    step: int


class Data(NamedTuple):
    """What a run was trained on: the long-tailed training split."""

    name: str
    digest: str
    profile: str

    @classmethod
    def of(cls, record: Record) -> "Data":
        """The data of a cell; ``profile`` has the images of each class, largest first as a rule."""
        keys = ("fingerprint", "imbalance", "subset_seed", "holdout")
        profile = json.dumps({"images": sum(record.get("class_counts", [])), "classes": record.get("class_counts")})
        return cls(f"{record['dataset']}, {record['imbalance']}", digest([record[key] for key in keys]), profile)


@dataclass(frozen=True)
class Run:
    """A run as MLflow should hold it.

    Attributes:
        kind: ``summary``, ``seed``, ``study`` or ``trial``.
        key: what it is found by again, within its kind.
        tags: without those that are bookkeeping.
        metrics: final values.
        curves: values before them; the last one of a metric is its final value.
        files: artifacts by path, made when they are wanted.
        made_of: what the content of ``files`` depends on.
        data: what it was trained on.
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
        """Of everything but the files."""
        content = (FORMAT, self.name, self.params, self.tags, self.metrics, self.curves, self.times, self.status)
        return digest(content)

    @cached_property
    def files_digest(self) -> str:
        """Of the files."""
        return digest((FORMAT, sorted(self.files), self.made_of))


@dataclass(frozen=True)
class Experiment:
    """An experiment as MLflow should hold it; ``views`` by the keys of their addresses, the main one first."""

    name: str
    note: str
    metric: str
    runs: tuple[Run, ...]
    views: Mapping[str, View]


def experiments(store: Store) -> Iterator[Experiment]:
    """What MLflow should hold of a store: a suite each, a recipe each for results that belong to no known suite, and
    what each suite's tuning tried.

    Raises:
        InputError: for a record or a study that cannot be read.
    """
    records = store.latest()
    suites: dict[str, set[str]] = {}
    for plan in store.plans():
        suites.setdefault(plan["suite"], set()).update(cell["id"] for cell in plan["cells"])
    known = set[str]().union(*suites.values())
    for cell, record in records.items():
        if cell not in known:
            suites.setdefault(f"recipe {record['recipe']}", set()).add(cell)
    for name, ids in suites.items():
        if ids & records.keys():
            yield _experiment(name, load_results(store.root, "last", ids), records)
    if (store.root / "tuning").exists():
        from ltbench.tracking.tuning_runs import tuning_experiments

        yield from tuning_experiments(store)


def _experiment(name: str, cells: pd.DataFrame, records: Mapping[str, Record]) -> Experiment:
    board = leaderboard(cells)
    runs: list[Run] = []
    every = View("Leaderboard", "tags.kind = 'summary'", MAIN_METRIC, ("params.dataset", "params.imbalance", *COLUMNS))
    tables = {"leaderboard": every}
    for _, part in board.groupby(TABLE, sort=False):
        rows = cells.merge(part[[*TABLE, "method"]], on=[*TABLE, "method"])
        table = View(title(part.iloc[0]), _filter(part.iloc[0]), MAIN_METRIC, COLUMNS)
        tables[digest(table.name)] = table
        of_method = {method: [records[cell] for cell in group.id] for method, group in rows.groupby("method")}
        made_of = digest(sorted(zip(rows.id, rows.created, strict=True)))
        texts = {"leaderboard.md": "markdown", "leaderboard.csv": "csv"}
        files = {path: _rendered(part, form) for path, form in texts.items()}
        if part.seeds.any():
            files |= _plots(part, rows, records)
        for _, row in part.iterrows():
            runs.append(_summary(row, of_method[row.method], files, made_of))
    entries = dict(zip(cells.id, cells.method, strict=True))
    places = {cell: _key(row) for cell, (_, row) in zip(cells.id, cells.iterrows(), strict=True)}
    runs += [_seed(records[cell], entry, places[cell]) for cell, entry in entries.items()]
    shots = " ".join(f"many / medium / few: {shots_note(shots)}." for shots in dict.fromkeys(board.shots))
    note = (
        "Made by `ltbench sync` from the results folder, which is the truth. Runs of kind `summary` are the rows of "
        "the leaderboard (means over seeds at the last epoch; 95 % intervals), those of kind `seed` single trainings. "
        f"Only rows of the same data set, imbalance and recipe may be compared. {shots}"
    )
    of_seeds = (COLUMNS[1], *COLUMNS[3:9])
    by_method = View("Seeds", "tags.kind = 'seed'", MAIN_METRIC, of_seeds, ("method", "dataset", "imbalance", "recipe"))
    return Experiment(name, note, MAIN_METRIC, tuple(runs), tables | {"seeds": by_method})


def _rendered(part: pd.DataFrame, form: Any) -> Callable[[], bytes]:
    return lambda: (render(part, form, "last") + "\n").encode()


def _plots(part: pd.DataFrame, rows: pd.DataFrame, records: Mapping[str, Record]) -> dict[str, Callable[[], bytes]]:
    """Figures of a table, each drawn at most once for all of its rows."""

    @cache
    def drawn(name: str) -> bytes:
        from ltbench.results import diagnostics
        from ltbench.show import figures, style

        if name == "accuracy":
            figure = figures.accuracy(part)
        elif name == "per_class":
            figure = figures.per_class(diagnostics.per_class(rows, records), part)
        else:
            figure = figures.curves(diagnostics.curves(rows, records), part)
        image = io.BytesIO()
        with style.style():
            figure.savefig(image, format="png", dpi=100)
        return image.getvalue()

    return {f"{name}.png": partial(drawn, name) for name in ("accuracy", "per_class", "curves")}


def _key(row: pd.Series) -> str:
    """Of a row of the leaderboard."""
    return digest([str(row[name]) for name in [*TABLE, "method"]])


def _filter(row: pd.Series) -> str:
    """The expression that finds the summary runs of a row's table."""
    names = ("dataset", "imbalance", "recipe", "subset_seed", "holdout")
    return " and ".join(["tags.kind = 'summary'", *(f"params.{name} = '{_quoted(row[name])}'" for name in names)])


def _quoted(value: object) -> str:
    return str(value).replace("'", "''")


def _summary(row: pd.Series, records: list[Record], files: Mapping[str, Callable[[], bytes]], made_of: str) -> Run:
    """A row of the leaderboard; ``records`` are those of its seeds, finished or failed."""
    done = [record for record in records if record["status"] == "done"]
    like = (done or records)[0]
    values = {f"test/{name}": row[name] for name in MEASURED}
    values |= {f"cost/{name}": row[name] for name in COSTS}
    values |= {metric: row[column] for column, metric in STANDING.items()}
    standing = "best" if row.best else "tied" if row.tied else "behind" if row.seeds else "failed"
    tags = _tags(like, [record for record in records if "environment" in record]) | {
        **SOURCE,
        "standing": standing,
        "interval_from": str(row.interval_from) if row.seeds else "",
        "reason": str(row.reason) if row.failed else "",
        "paper_source": str(row.paper_source) if pd.notna(row.paper) else "",
        "mlflow.note.content": _note(row, like, standing),
    }
    ends = [_milliseconds(record["created"]) for record in records]
    files = dict(files) | ({"per_class.csv": lambda: per_class(done)} if done else {})
    return Run(
        "summary",
        _key(row),
        row.method,
        _params(like, row.method),
        tags,
        {name: float(value) for name, value in values.items() if pd.notna(value)},
        files=files,
        made_of=made_of,
        data=Data.of(like),
        times=(min(ends), max(ends)),
        status="FINISHED" if row.seeds else "FAILED",
    )


def _note(row: pd.Series, like: Record, standing: str) -> str:
    if not row.seeds:
        return f"**{row.method}** failed on {title(row)}: {row.reason}"
    spread = f" ± {row.interval:.1f}" if pd.notna(row.interval) else ""
    over = f"over {row.seeds} seeds" if row.interval_from == "seeds" else "over the test images of one seed"
    return (
        f"**{row.method}**, {title(row)}: {row.balanced_accuracy:.1f}{spread} % balanced accuracy "
        f"(95 % interval {over}); {standing}.\n\nSeed {like['seed']} again: `{like['command']}`"
    )


def _seed(record: Record, entry: str, parent: str) -> Run:
    """One cell, finished or failed."""
    end = _milliseconds(record["created"])
    done = record["status"] == "done"
    metrics: dict[str, float] = {}
    points: tuple[Point, ...] = ()
    if done:
        points = tuple(curves(record))
        metrics = {f"test/{k}": v for k, v in record["protocols"]["last"].items() if k in METRICS and v is not None}
        metrics |= {f"cost/{name}": float(v) for name in COSTS if (v := record["cost"].get(name)) is not None}
    tags = _tags(record, [record] if "environment" in record else []) | {
        "cell": record["id"],
        "reason": record["reason"] or "",
        **SOURCE,
        "command": record["command"],
    }
    files: dict[str, Callable[[], bytes]] = {"record.json": lambda: json.dumps(record, indent=1).encode()}
    if done:
        files["per_class.csv"] = lambda: per_class([record])
    return Run(
        "seed",
        record["id"],
        f"{entry} · {record['imbalance']} · seed {record['seed']}",
        _params(record, entry) | {"seed": str(record["seed"])},
        tags,
        metrics,
        points,
        files,
        record["created"],
        Data.of(record),
        times=(end - round(1000 * record["cost"]["wall_seconds"]) if done else end, end),
        status="FINISHED" if done else "FAILED",
        parent=f"summary:{parent}",
    )


def _params(record: Record, entry: str) -> dict[str, str]:
    """What people filter and group by."""
    recipe = record["settings"]["recipe"]
    names = ("dataset", "imbalance", "recipe", "subset_seed", "holdout")
    return {
        "method": entry,
        **{name: str(record[name]) for name in names},
        "trials": str(record.get("trials", 0)),
        "hyperparameters": json.dumps(record["settings"]["chain"][-1][2]),
        "backbone": str(recipe["backbone"]),
        "epochs": str(recipe["epochs"]),
    }


def _tags(record: Record, trained: list[Record]) -> dict[str, str]:
    """Identities, and where it was trained; several values with commas."""

    def environments(name: str) -> str:
        return ", ".join(dict.fromkeys(str(one["environment"][name]) for one in trained))

    return {
        "protocol": "last",
        "data": record["fingerprint"],
        "recipe_hash": digest(record["settings"]["recipe"]),
        "method_source": record["settings"]["chain"][-1][1],
        "device": environments("device_name"),
        "torch": environments("torch"),
        "mlflow.source.git.commit": environments("revision"),
    }


def curves(record: Record) -> Iterator[Point]:
    """The loss of each epoch and every evaluation, in order, over the cell's own stages."""
    before = 0
    for part in record["losses"]:
        yield from (Point("train/loss", loss, before + epoch) for epoch, loss in enumerate(part["loss"], 1))
        for evaluation in record["evaluations"]:
            if evaluation["stage"] == part["stage"]:
                for split in ("val", "test"):
                    for name, value in evaluation.get(split, {}).items():
                        if name in METRICS and value is not None:
                            yield Point(f"{split}/{name}", value, before + evaluation["epoch"])
        before += len(part["loss"])


def per_class(records: list[Record]) -> bytes:
    """A table of the classes as CSV: sizes, and the accuracy in percent of each seed and their mean."""
    first = records[0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seeds = [f"seed_{record['seed']}" for record in records]
    writer.writerow(["class", "train_images", "test_images", *seeds, *(["mean"] if len(seeds) > 1 else [])])
    for c, (train, test) in enumerate(zip(first["class_counts"], first["test_counts"], strict=True)):
        accuracies = [100 * record["hits"][c] / test for record in records] if test else []
        mean = [sum(accuracies) / len(accuracies)] if len(accuracies) > 1 else []
        writer.writerow([c, train, test, *(f"{value:.2f}" for value in accuracies + mean)])
    return text.getvalue().encode()


def _milliseconds(created: str) -> int:
    return round(1000 * datetime.fromisoformat(created).timestamp())
