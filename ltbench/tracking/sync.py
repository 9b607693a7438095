"""Updates MLflow from the store: adds missing runs, changes runs that differ, and deletes runs that no longer exist.

A tag identifies each run, so a second sync does nothing, and the next sync completes one that was interrupted. Only
runs of this results folder are touched: others may use the same server.
"""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ltbench.errors import InputError, one_line
from ltbench.results.files import read_whole, write_whole
from ltbench.results.store import Store
from ltbench.tracking.address import OURS, address, connect, folder, is_own, shown
from ltbench.tracking.leaderboard_runs import suite_experiments
from ltbench.tracking.machine_runs import machine_experiments
from ltbench.tracking.nightly_runs import nightly_experiments
from ltbench.tracking.own_database import artifacts
from ltbench.tracking.runs import Experiment, Run
from ltbench.tracking.views import PREFIX, page

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient

ID, DIGEST, FILES, RESULTS, WRITTEN = (f"ltbench.{name}" for name in ("id", "digest", "files", "results", "written"))
PARENT = "mlflow.parentRunId"
EMPTY: Mapping[str, str] = {}
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100
"""The most that MLflow accepts in one request."""
LATE = ("table", "summary")
"""Kinds of runs whose files may change with every record."""


def experiments(store: Store, growing: bool = True) -> Iterator[Experiment]:
    """The experiments that MLflow should hold: those of the leaderboard, of tuning, of the machine, and of nights.

    Args:
        store: the results, or a folder of nights.
        growing: whether to include what the machine is being sampled for right now.
    """
    yield from suite_experiments(store)
    if (store.root / "tuning").exists():
        from ltbench.tracking.tuning_runs import tuning_experiments

        yield from tuning_experiments(store)
    yield from machine_experiments(store, growing)
    yield from nightly_experiments(store)


def sync(store: Store, files: bool = True) -> Counter[str]:
    """Update MLflow from a store.

    Args:
        store: the results.
        files: whether to write the artifacts of tables and summary runs too; they may change with every record.

    Returns:
        The number of runs that were ``new``, ``changed``, ``deleted``, or the ``same`` as before.

    Raises:
        InputError: when MLflow does not answer, or stops answering.
    """
    with store.locked("mlflow"):
        results, client = identity(store), connect(store)
        try:
            return _sync(store, client, results, files)
        except Exception as error:  # each kind of tracking store has errors of its own
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"MLflow at {shown(address(store))} stopped answering ({shown(one_line(error))}); "
                "run ltbench sync to continue"
            ) from error


def pages(store: Store, base: str) -> dict[str, dict[str, str]]:
    """The addresses of the views on a server, by name, of each experiment."""
    client = connect(store)
    found = {}
    for experiment in experiments(store):
        made = client.get_experiment_by_name(experiment.name)
        if made is not None and experiment.views:
            addresses = {view.name: page(base, made.experiment_id, key) for key, view in experiment.views.items()}
            found[experiment.name] = addresses
    return found


def _sync(store: Store, client: "MlflowClient", results: str, files: bool) -> Counter[str]:
    done: Counter[str] = Counter()
    stale = {one.name: one for one in client.search_experiments(filter_string=f"tags.{OURS} != ''")}
    for experiment in experiments(store, growing=files):
        place = _place(client, experiment, artifacts(folder(store)) if is_own(store) else None)
        stale.pop(experiment.name, None)
        _Sync(client, place, results, files, done).all(experiment.runs)
    for left in stale.values():
        _Sync(client, left.experiment_id, results, files, done).all([])
        if left.tags[OURS] == "results" and not client.search_runs([left.experiment_id], max_results=1):
            client.delete_experiment(left.experiment_id)
    return done


def identity(store: Store) -> str:
    """An identifier that separates the runs of this results folder from others on the same server.

    Raises:
        InputError: where its file has something else.
    """
    path = store.root / "tracking-id"
    if not path.exists():
        write_whole(path, uuid4().hex.encode())
    found = read_whole(path).strip().decode(errors="replace")
    if not re.fullmatch("[0-9a-f]{32}", found):
        raise InputError(f"{path} is not an identifier of ltbench; remove it, and what is in MLflow is made again")
    return found


def _place(client: "MlflowClient", experiment: Experiment, location: str | None) -> str:
    """Create or update an experiment; returns its id. Of an experiment of others, only the views are changed.

    Args:
        location: address of our artifacts; None: on a server.
    """
    views = {PREFIX + key: view.tag() for key, view in experiment.views.items()}
    wanted = views | {
        OURS: "results",
        "mlflow.note.content": experiment.note,
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": experiment.metric,
    }
    found = client.get_experiment_by_name(experiment.name)
    if found is None:
        return client.create_experiment(experiment.name, location, wanted)
    if location not in (None, found.artifact_location):
        raise InputError(f"experiment {experiment.name} keeps its files in {found.artifact_location}; rename the suite")
    if found.tags.get(OURS) != "results":
        wanted = views | {OURS: "guest"}
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in wanted.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id


class _Sync:
    """Updates the runs of one experiment."""

    def __init__(self, client: "MlflowClient", place: str, results: str, files: bool, done: Counter[str]) -> None:
        self.client, self.place, self.results, self.files, self.done = client, place, results, files, done

    def all(self, wanted: Iterable[Run]) -> None:
        """Make the runs equal to ``wanted``, in which a parent comes before its children."""
        there = self._there()
        ids: dict[str, str] = {}
        for run in wanted:
            key = f"{run.kind}:{run.key}"
            ids[key] = self._one(run, there.pop(key, None), ids.get(run.parent or ""))
        for left in there.values():
            self._delete(left)

    def _there(self) -> "dict[str, mlflow.entities.Run]":
        there: dict[str, Any] = {}
        token = None
        while True:
            found = self.client.search_runs(
                [self.place], f"tags.`{RESULTS}` = '{self.results}'", max_results=1000, page_token=token
            )
            for run in found:
                if run.info.status == "RUNNING" or run.data.tags[ID] in there:  # interrupted, or created twice
                    self._delete(run)
                else:
                    there[run.data.tags[ID]] = run
            token = found.token
            if not token:
                return there

    def _delete(self, run: "mlflow.entities.Run") -> None:
        self.client.delete_run(run.info.run_id)
        self.done["deleted"] += 1

    def _one(self, run: Run, there: "mlflow.entities.Run | None", parent: str | None) -> str:
        if there is not None and there.data.tags.get(DIGEST) != run.digest and not _changeable(run, there):
            self._delete(there)
            there = None
        if there is None:
            self.done["new"] += 1
            return self._new(run, parent)
        before = there.data.tags
        tags = {} if before.get(DIGEST) == run.digest else self._change(run, there)
        if parent is not None and before.get(PARENT) != parent:
            tags[PARENT] = parent
        if self.files and before.get(FILES) != run.files_digest:
            self._write(run, there.info.run_id)
            tags[FILES] = run.files_digest
        self._log(there.info.run_id, tags=tags)
        self.done["changed" if tags else "same"] += 1
        return str(there.info.run_id)

    def _new(self, run: Run, parent: str | None) -> str:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

        start, end = run.times
        tags = {
            "kind": run.kind,
            **{key: value for key, value in run.tags.items() if value},
            ID: f"{run.kind}:{run.key}",
            RESULTS: self.results,
            DIGEST: run.digest,
        }
        tags |= {WRITTEN: str(end), **({PARENT: parent} if parent else {})}
        with_files = self.files or run.kind not in LATE
        tags |= {FILES: run.files_digest} if with_files else {}
        run_id = self.client.create_run(self.place, start, tags, run.name).info.run_id
        first = end - len(run.curves)  # MLflow takes the latest of a step, so that each has a time of its own
        metrics = [Metric(p.metric, p.value, p.time or first + i, p.step) for i, p in enumerate(run.curves)]
        in_curves = {point.metric for point in run.curves}
        metrics += [Metric(name, value, end, 0) for name, value in run.metrics.items() if name not in in_curves]
        self._log(run_id, metrics, run.params)
        inputs = [
            DatasetInput(
                Dataset(data.name, data.digest, data.kind, data.source, None, data.profile),
                [InputTag("mlflow.data.context", data.context)],
            )
            for data in run.data
        ]
        if inputs:
            self.client.log_inputs(run_id, inputs)
        if with_files:
            self._write(run, run_id)
        self.client.set_terminated(run_id, run.status, end)
        return str(run_id)

    def _change(self, run: Run, there: "mlflow.entities.Run") -> dict[str, str]:
        """Change the metrics; returns the tags that still have to be changed."""
        from mlflow.entities import Metric

        before = there.data
        written = max(round(1000 * time.time()), int(before.tags[WRITTEN]) + 1)
        changed = {name: value for name, value in run.metrics.items() if before.metrics.get(name) != value}
        self._log(there.info.run_id, [Metric(name, value, written, 0) for name, value in changed.items()])
        if (there.info.status, there.info.end_time) != (run.status, run.times[1]):
            self.client.set_terminated(there.info.run_id, run.status, run.times[1])
        wanted = {**run.tags, DIGEST: run.digest, WRITTEN: str(written)}
        return {key: value for key, value in wanted.items() if before.tags.get(key, "") != value}

    def _log(
        self,
        run_id: str,
        metrics: "Sequence[mlflow.entities.Metric]" = (),
        params: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
    ) -> None:
        from mlflow.entities import Param, RunTag

        if tags:
            self.client.log_batch(run_id, (), (), [RunTag(*pair) for pair in tags.items()])
        pairs = [Param(*pair) for pair in params.items()]
        for first in range(0, len(pairs), PARAMS_AT_ONCE):
            self.client.log_batch(run_id, (), pairs[first : first + PARAMS_AT_ONCE])
        for first in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics[first : first + METRICS_AT_ONCE])

    def _write(self, run: Run, run_id: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            for path, content in run.files.items():
                (Path(place) / path).write_bytes(content())
            self.client.log_artifacts(run_id, place)


def _changeable(run: Run, there: "mlflow.entities.Run") -> bool:
    """Whether a run can be changed into another: MLflow can remove neither parameters nor metrics of a run."""
    return (
        not run.curves
        and there.data.params == run.params
        and there.data.metrics.keys() <= run.metrics.keys()
        and (there.info.run_name, there.info.start_time) == (run.name, run.times[0])
    )
