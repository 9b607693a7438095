"""MLflow holds what the store holds, whatever happened before."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ltbench as package
from ltbench.errors import InputError
from ltbench.results.leaderboard import METRICS, leaderboard, load_results
from ltbench.results.record import Evaluation, Record, StageLosses
from ltbench.results.store import Store
from ltbench.tracking import leaderboard_runs
from ltbench.tracking import runs as shapes
from ltbench.tracking.address import connect
from ltbench.tracking.commits import commits
from ltbench.tracking.machine import sampled
from ltbench.tracking.models import log_models
from ltbench.tracking.sync import experiments, sync
from ltbench.tracking.ui import serving
from ltbench.tracking.views import PREFIX
from ltbench.tuning.journal import studies
from tests.conftest import FAST, Answer

Cli = Callable[..., Answer]
ROOT = Path(package.__file__).parent.parent
METHODS = ["ce", "crt", "tau_norm"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, two ratios, two seeds."""
    results = tmp_path_factory.mktemp("trained") / "results"
    changes = {"recipe.epochs": 2, "recipe.evaluate_every": 1}
    package.run(methods=METHODS, imbalance=[100, 20], seeds=2, changes=changes, results=results)
    return results


@pytest.fixture(scope="module")
def synced(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, in MLflow too; not to be changed."""
    results = tmp_path_factory.mktemp("synced") / "results"
    shutil.copytree(trained, results)
    assert sync(Store(results)) == {"new": 20}
    return results


@pytest.fixture
def results(synced: Path) -> Path:
    """A copy of it in a folder of its own, so that the first sync creates it again."""
    shutil.copytree(synced, "results")
    return Path("results")


def runs(results: Path | str, kind: str, experiment: str = "quickstart") -> list[Any]:
    client = connect(Store(results))
    place = client.get_experiment_by_name(experiment)
    found = client.search_runs([place.experiment_id], f"tags.kind = '{kind}'", max_results=1000)
    assert found.token in (None, "")
    return list(found)


def content(results: Path | str) -> dict[str, Any]:
    """Everything that must be the same however MLflow came to it."""
    told = {}
    for run in runs(results, "table") + runs(results, "summary") + runs(results, "seed"):
        kept = ("ltbench.id", "ltbench.digest", "ltbench.files")
        tags = {
            k: v for k, v in run.data.tags.items() if not k.startswith(("ltbench.", "mlflow.parentRunId")) or k in kept
        }
        assert run.data.tags["ltbench.id"] not in told
        info = run.info.run_name, run.info.status, run.info.start_time, run.info.end_time
        told[run.data.tags["ltbench.id"]] = [info, run.data.params, run.data.metrics, tags]
    return told


def records(results: Path) -> list[Record]:
    return list(Store(results).latest().values())


def drop(results: Path, chosen: Callable[[Record], bool]) -> None:
    for record in records(results):
        if chosen(record):
            for path in (results / "records").glob(f"{record.id}-*"):
                path.unlink()


# the numbers are those of the store


def test_a_summary_is_a_row_of_the_leaderboard(synced: Path) -> None:
    board = leaderboard(load_results(synced))
    found = {(run.data.params["imbalance"], run.data.params["method"]): run.data for run in runs(synced, "summary")}
    assert len(found) == len(board) == 6
    for _, row in board.iterrows():
        data = found[row.imbalance, row.method]
        assert {f"test/{name}": row[name] for name in METRICS}.items() <= data.metrics.items()
        assert data.metrics["test/interval"] == row.interval
        assert data.metrics["seeds"] == row.seeds == 2
        assert data.metrics["cost/train_seconds"] == row.train_seconds
        assert data.tags["standing"] == ("best" if row.best else "tied" if row.tied else "behind")
        assert data.params["dataset"] == "digits"
        assert data.params["trials"] == "0"


def test_a_seed_run_is_a_record(synced: Path) -> None:
    client = connect(Store(synced))
    found = {run.data.tags["cell"]: run for run in runs(synced, "seed")}
    summaries = {run.info.run_id: run.data.params for run in runs(synced, "summary")}
    assert len(found) == 12
    for record in records(synced):
        run = found[record.id]
        assert {f"test/{k}": getattr(record.finished.last, k) for k in METRICS}.items() <= run.data.metrics.items()
        assert run.data.params["seed"] == str(record.seed)
        parent = summaries[run.data.tags["mlflow.parentRunId"]]
        assert parent.items() <= run.data.params.items()
        losses = [point.value for point in client.get_metric_history(run.info.run_id, "train/loss")]
        assert losses == [loss for part in record.finished.losses for loss in part.loss]
        history = client.get_metric_history(run.info.run_id, "test/balanced_accuracy")
        assert [p.value for p in history] == [e.test.balanced_accuracy for e in record.finished.evaluations]
        inputs = {data.tags[0].value: data.dataset for data in run.inputs.dataset_inputs}
        assert {context: data.name for context, data in inputs.items()} == {
            "train": f"digits, {record.imbalance}",
            "test": "digits, test",
        }
        assert json.loads(inputs["train"].profile)["classes"] == list(record.finished.class_counts)
        assert json.loads(inputs["test"].profile)["classes"] == list(record.finished.test_counts)
        assert inputs["test"].source_type == "http"
        assert "load_digits" in json.loads(inputs["test"].source)["url"]


def test_every_setting_is_a_parameter_of_its_own(synced: Path) -> None:
    for run in runs(synced, "seed"):
        record = Store(synced).one(run.data.tags["cell"])
        settings = {name: value for name, value in run.data.params.items() if "." in name}
        expected = {f"recipe.{name}": value for name, value in record.recipe_values.items() if value is not None}
        for link in record.chain:
            expected |= {f"{link.method}.{name}": value for name, value in link.hyperparameters.items()}
        assert settings.keys() == expected.keys()
        for name, value in expected.items():
            assert settings[name] == value or json.loads(settings[name]) == json.loads(json.dumps(value)), name
    (crt,) = {run.data.params["crt.lr"] for run in runs(synced, "seed") if run.data.params["method"] == "crt"}
    assert float(crt) == 0.1


def test_the_commit_of_the_file_of_a_method_is_a_tag(synced: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%H", "--", "methods/crt.py"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    found = {run.data.tags["method_commit"] for run in runs(synced, "summary") if run.data.params["method"] == "crt"}
    assert {text.removesuffix(" + edits") for text in found} == {commit}


def test_the_commit_of_a_method_of_ones_own_says_whether_it_was_edited_since() -> None:
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    Path("methods").mkdir()
    Path("methods/mine.py").write_text("a = 1\n")
    assert "mine" not in commits()
    for words in (["init", "-q"], ["add", "methods/mine.py"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert commits()["mine"] == head
    Path("methods/mine.py").write_text("a = 2\n")
    assert commits()["mine"] == f"{head} + edits"


def test_artifacts(synced: Path) -> None:
    client = connect(Store(synced))
    record = records(synced)[0]
    run = next(run for run in runs(synced, "seed") if run.data.tags["cell"] == record.id)
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert folder.is_relative_to(synced)
    assert Record.model_validate_json((folder / "record.json").read_text()) == record
    lines = (folder / "per_class.csv").read_text().splitlines()
    assert lines[0] == f"class,train_images,test_images,seed_{record.seed}"
    for line, train, test, hits in zip(
        lines[1:], record.finished.class_counts, record.finished.test_counts, record.finished.hits, strict=True
    ):
        assert line.split(",")[1:] == [str(train), str(test), f"{100 * hits / test:.2f}"]
    summary = client.get_run(run.data.tags["mlflow.parentRunId"])
    folder = Path(client.download_artifacts(summary.info.run_id, ""))
    assert [path.name for path in folder.iterdir()] == ["per_class.csv"]
    assert (folder / "per_class.csv").read_text().startswith("class,train_images,test_images,seed_0,seed_1,mean\n0,")
    table = client.get_run(summary.data.tags["mlflow.parentRunId"])
    folder = Path(client.download_artifacts(table.info.run_id, ""))
    plots = {"accuracy.png", "per_class.png", "curves.png"}
    assert {path.name for path in folder.iterdir()} == {"leaderboard.md", "leaderboard.csv", *plots}
    assert "ce" in (folder / "leaderboard.md").read_text()
    assert len((folder / "leaderboard.csv").read_text().splitlines()) == 1 + len(METHODS)


def test_the_last_value_counts_where_two_share_a_step(results: Path) -> None:
    record = next(r for r in records(results) if r.method == "tau_norm")
    drop(results, lambda _: True)
    last = record.finished.evaluations[-1].test
    assert last is not None
    better = last.model_copy(update={"balanced_accuracy": last.balanced_accuracy + 1})
    changed = {
        "losses": (StageLosses(stage="train", loss=(1.0,) * 1500), StageLosses(stage="post-hoc", loss=())),
        "evaluations": (
            Evaluation(stage="train", epoch=1500, test=better),
            Evaluation(stage="post-hoc", epoch=0, test=last),
        ),
    }
    Store(results).add(record.model_copy(update={"result": record.finished.model_copy(update=changed)}))
    sync(Store(results))
    (run,) = runs(results, "seed")
    assert run.data.metrics["test/balanced_accuracy"] == last.balanced_accuracy
    assert len(connect(Store(results)).get_metric_history(run.info.run_id, "train/loss")) == 1500


# the store is the truth


def test_twice_is_once(results: Path) -> None:
    sync(Store(results))
    before = content(results), [run.info.run_id for run in runs(results, "summary")]
    assert sync(Store(results)) == {"same": 20}
    assert before == (content(results), [run.info.run_id for run in runs(results, "summary")])


@pytest.mark.slow
def test_made_from_nothing_it_is_the_same(results: Path, synced: Path) -> None:
    shutil.rmtree(results / "mlflow")
    assert sync(Store(results)) == {"new": 20}
    assert content(results) == content(synced)


@pytest.mark.slow
def test_record_by_record_it_comes_to_the_same(trained: Path, synced: Path) -> None:
    store = Store("results")
    shutil.copytree(trained / "plans", "results/plans")
    (store.root / "records").mkdir()
    ids: dict[str, str] = {}
    for number, path in enumerate(sorted((trained / "records").iterdir(), key=lambda path: path.name.split("-")[1])):
        shutil.copy(path, store.root / "records")
        sync(store, files=number % 3 == 0)
        for run in runs("results", "summary"):
            assert ids.setdefault(run.data.tags["ltbench.id"], run.info.run_id) == run.info.run_id  # changed in place
    assert sync(store)["new"] == 0
    assert content("results") == content(synced)


@pytest.mark.slow
def test_what_is_gone_from_the_store_goes_from_mlflow(results: Path, synced: Path) -> None:
    sync(Store(results))
    kept = {path: path.read_bytes() for path in (results / "records").iterdir()}
    drop(results, lambda r: r.method == "crt" or (r.method, r.seed) == ("ce", 1))
    assert sync(Store(results))["deleted"] >= 6 + 2
    assert {run.data.params["method"] for run in runs(results, "summary")} == {"ce", "tau_norm"}
    assert {r.data.metrics["seeds"] for r in runs(results, "summary") if r.data.params["method"] == "ce"} == {1}
    for path, old in kept.items():
        path.write_bytes(old)
    sync(Store(results))
    assert content(results) == content(synced)


@pytest.mark.slow
def test_results_without_a_plan_stand_under_their_recipe(results: Path) -> None:
    sync(Store(results))
    shutil.rmtree(results / "plans")
    sync(Store(results))
    client = connect(Store(results))
    assert client.get_experiment_by_name("quickstart").lifecycle_stage == "deleted"
    assert len(runs(results, "seed", f"recipe {records(results)[0].recipe}")) == 12


def test_a_failed_cell_is_a_failed_run_with_its_reason(results: Path) -> None:
    failed = next(r for r in records(results) if (r.method, r.imbalance) == ("ce", "20"))
    drop(results, lambda r: r.method == "ce" and r.imbalance == "20")
    Store(results).add(failed.model_copy(update={"result": None, "reason": "loss is nan"}))
    sync(Store(results))
    (run,) = (run for run in runs(results, "seed") if run.info.status == "FAILED")
    assert run.data.tags["reason"] == "loss is nan"
    (row,) = (run for run in runs(results, "summary") if run.info.status == "FAILED")
    assert row.data.metrics == {"seeds": 0, "failed": 1}
    assert row.data.tags["standing"] == "failed"


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "cut_at", ["log_batch", "set_terminated", *(pytest.param(x, marks=SLOW) for x in ("log_inputs", "log_artifacts"))]
)
def test_a_sync_that_was_cut_off_is_completed(
    results: Path, synced: Path, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    from mlflow import MlflowClient

    whole = getattr(MlflowClient, cut_at)
    calls: list[int] = []

    def cut(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 10:
            raise ConnectionError("gone")
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, cut_at, cut)
        with pytest.raises(
            InputError, match=r"stopped answering \(ConnectionError: gone\); run ltbench sync to continue"
        ):
            sync(Store(results))
    sync(Store(results))
    assert content(results) == content(synced)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [b"no database at all, but long enough to be taken for one" * 9, b""])
def test_a_spoilt_database_is_created_again(results: Path, synced: Path, spoil: bytes) -> None:
    (results / "mlflow" / "mlflow.db").write_bytes(spoil)
    subprocess.run([sys.executable, "-m", "ltbench", "sync"], env=environment(), check=True)
    assert content(results) == content(synced)


def test_names_that_are_hard_on_addresses(synced: Path) -> None:
    place = Path("50 % of #1, it's all")
    shutil.copytree(synced, place)
    sync(Store(place))
    assert content(place) == content(synced)
    assert Path(connect(Store(place)).download_artifacts(runs(place, "seed")[0].info.run_id, "")).is_relative_to(
        place.resolve()
    )
    assert not list(Path().glob("mlruns"))


@pytest.mark.slow
def test_two_at_once(trained: Path, synced: Path) -> None:
    shutil.copytree(trained, "results")
    both = [subprocess.Popen([sys.executable, "-m", "ltbench", "sync"], env=environment()) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert content("results") == content(synced)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)} | more


@pytest.mark.slow
def test_runs_of_an_older_version_are_replaced(results: Path, synced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shapes, "FORMAT", 2)
        patch.setattr(leaderboard_runs, "_settings", lambda record: {"hyperparameters": "{}"})
        sync(Store(results))
        assert all("hyperparameters" in run.data.params for run in runs(results, "seed"))
    assert sync(Store(results)) == {"deleted": 18, "new": 18, "changed": 2}
    assert content(results) == content(synced)


# other experiments, models, the machine


@pytest.mark.slow
def test_all_results_are_in_the_experiment_that_the_environment_names(
    results: Path, synced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(Store(results))
    client = connect(Store(results))
    inside = (results / "mlflow" / "artifacts").resolve().as_uri()
    mine = client.create_experiment("mine", inside, {"mlflow.note.content": "my own note"})
    client.create_run(mine)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert sync(Store(results)) == {"deleted": 20, "new": 20}
    assert len(runs(results, "seed", "mine")) == 12
    assert client.get_experiment_by_name("quickstart").lifecycle_stage == "deleted"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert sync(Store(results)) == {"deleted": 20, "same": 20}  # MLflow restores an experiment with its runs
    assert content(results) == content(synced)
    left = client.get_experiment_by_name("mine")  # of others: it stays, with its note and its run
    assert left.lifecycle_stage == "active"
    assert left.tags["mlflow.note.content"] == "my own note"
    assert len(client.search_runs([mine])) == 1


@pytest.mark.slow
def test_the_best_model_of_each_table_is_logged_and_predicts(results: Path) -> None:
    from mlflow import pyfunc

    from ltbench.data import load

    store, said = Store(results), list[str]()
    sync(store)
    log_models(store, said.append)
    assert len(said) == 2
    client = connect(store)
    place = client.get_experiment_by_name("quickstart").experiment_id
    board = leaderboard(load_results(results))
    found = {model.tags["imbalance"]: model for model in client.search_logged_models([place])}
    assert found.keys() == {"100", "20"}
    images = load("digits").test.take(range(50)).pixels()
    for imbalance, model in found.items():
        best = board[board.imbalance == imbalance].iloc[0]
        assert model.tags["method"] == best.method
        assert client.get_run(model.source_run_id).data.params["method"] == best.method
        with pytest.MonkeyPatch.context() as patch:  # mlflow.set_tracking_uri would set it for all later tests
            patch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
            loaded = pyfunc.load_model(f"models:/{model.model_id}")
        assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 8, 8, 1)
        assert (
            loaded.predict(images).argmax(axis=1).tolist()
            == store.arrays(store.one(model.tags["ltbench.cell"]))["predicted"][:50].tolist()
        )
    said.clear()
    log_models(store, said.append)
    assert said == []  # nothing has changed
    kept = store.one(found["100"].tags["ltbench.cell"])
    drop(results, lambda record: record.method == kept.method and record.imbalance == "100")
    shutil.rmtree(results / "stages")
    sync(Store(results))
    log_models(Store(results), said.append)
    assert len(said) == 1
    assert "no model of" in said[0]
    assert "train it again" in said[0]
    assert {model.tags["imbalance"] for model in client.search_logged_models([place])} == {"20"}


def test_the_machine_is_sampled_where_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    results = Path("results")
    store = Store(results)
    store.prepare()
    with sampled(store):
        assert not (results / "machine").exists()
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with sampled(store):
        wait_until(lambda: [path for path in results.glob("machine/*") if len(path.read_text().splitlines()) > 2])
    (path,) = (results / "machine").glob("*.jsonl")
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    with path.open("a") as file:
        file.write('{"time": 17')  # as a kill leaves it
    sync(store, files=False)
    assert connect(store).get_experiment_by_name("system metrics") is None  # it may still grow
    sync(store)
    (run,) = runs(results, "machine", "system metrics")
    metric = "system/system_memory_usage_percentage"
    history = connect(store).get_metric_history(run.info.run_id, metric)
    assert [(point.timestamp, point.value) for point in history] == [
        (sample["time"], sample["system_memory_usage_percentage"]) for sample in samples
    ]
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "often")
    with pytest.raises(InputError, match="is not a number of seconds"), sampled(store):
        pass


# views


def test_views_know_their_columns_and_filters(synced: Path) -> None:
    (experiment,) = experiments(Store(synced))
    place = connect(Store(synced)).get_experiment_by_name("quickstart")
    everything = runs(synced, "summary") + runs(synced, "seed")
    known = {f"metrics.`{name}`" for run in everything for name in run.data.metrics}
    known |= {f"params.`{name}`" for run in everything for name in run.data.params}
    known |= {f"tags.`{name}`" for run in everything for name in run.data.tags}
    sizes = {}
    for key, view in experiment.views.items():
        envelope = json.loads(place.tags[PREFIX + key])
        state = json.loads(envelope["state"])
        assert set(state["selectedColumns"]) <= known
        found = connect(Store(synced)).search_runs(
            [place.experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} DESC"]
        )
        values = [run.data.metrics["test/balanced_accuracy"] for run in found]
        assert values == sorted(values, reverse=True)
        sizes[view.name] = len(values)
    recipe = "digits[epochs=2,evaluate_every=1]"
    tables = {f"digits · imbalance {ratio} · recipe {recipe}": 3 for ratio in (100, 20)}
    assert sizes == {"Leaderboard": 6, **tables, "Seeds": 12}


# tuning


def test_tuning_leaves_studies_and_trials(ltbench: Cli) -> None:
    options = ("--methods", "ce", "--imbalance", "20", "--set", "recipe.epochs=1", "--workers", "1")
    assert ltbench("tune", *options, "--trials", "2", "--tracking").status == 0
    assert sync(Store("results")) == {"same": 3}
    (study,) = studies("results")
    (run,) = runs("results", "study", "quickstart tuning")
    assert study.best is not None
    assert run.data.metrics["val/balanced_accuracy"] == study.best["value"]
    assert run.data.metrics["val/expected_best"] == study.expected_best()[-1]
    trials = {run.data.tags["ltbench.id"]: run.data for run in runs("results", "trial", "quickstart tuning")}
    for trial in study.trials:
        data = trials[f"trial:{study.name}:{trial['number']}"]
        assert data.metrics == {"val/balanced_accuracy": trial["value"], "cost/train_seconds": trial["seconds"]}
        assert {name: str(value) for name, value in trial["params"].items()}.items() <= data.params.items()
        assert "recipe.lr" in data.params
    assert not any(name.startswith("test/") for data in trials.values() for name in data.metrics)


# servers


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


class Other(http.server.BaseHTTPRequestHandler):
    """Answers, but is no MLflow."""

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def other_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("kind", ["port", "silent_server", "other_server"])
def test_an_address_that_does_not_answer(
    ltbench: Cli, synced: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = request.getfixturevalue(kind)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    started = time.monotonic()
    answer = ltbench("sync", "--results", str(synced))
    assert time.monotonic() - started < 12
    assert answer.status == 2
    assert len(answer.err.splitlines()) == 1
    assert f"http://***@127.0.0.1:{port}" in answer.err
    assert "MLFLOW_TRACKING_URI" in answer.err


def test_wrong_input(ltbench: Cli, synced: Path, silent_server: int) -> None:
    for command in ("sync", "ui"):
        assert "results folder results does not exist" in ltbench(command).err
    answer = ltbench("ui", "--results", str(synced), "--port", str(silent_server))
    assert answer.status == 2
    assert answer.err.startswith(
        f"ltbench: port {silent_server} cannot be used (Address already in use); choose another"
    )


@pytest.mark.slow
def test_only_our_own_runs_on_a_server_that_others_use(
    synced: Path, trained: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("one", "two"):
        shutil.copytree(trained, place)
    drop(Path("one"), lambda r: r.seed == 1)
    with serving(Store("server"), port):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert sync(Store("one")) == {"new": 14}
        assert sync(Store("two")) == {"new": 20}
        assert sync(Store("one")) == {"same": 14}
        assert len(runs("two", "seed")) == 12 + 6
        drop(Path("one"), lambda r: True)
        assert sync(Store("one")) == {"deleted": 14}
        assert content("two") == content(synced)


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_ui_stops_its_server_however_it_is_ended(port: int, blow: signal.Signals) -> None:
    Store("results").prepare()
    command = [sys.executable, "-m", "ltbench", "ui", "--port", str(port)]
    running = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    wait_until(lambda: "Ctrl-C" in running.stdout.readline(), seconds=240)
    urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
    served = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
    running.send_signal(blow)
    assert running.wait(60) == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))  # the port is free again
    assert served
    assert not any(Path(f"/proc/{pid}").exists() for pid in served)


# live


QUICK = [sys.executable, "-m", "ltbench", "run", *FAST, "--methods", "ce,focal,crt", "--tracking", "--threads", "1"]


def wait_until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def test_a_run_leaves_mlflow_up_to_date() -> None:
    done = subprocess.run(QUICK, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert "MLflow" not in done.stderr
    assert len(runs("results", "summary")) == len(runs("results", "seed")) == 3
    assert sync(Store("results")) == {"same": 7}


@pytest.mark.slow
def test_a_server_that_is_stopped_during_a_run_loses_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"http://127.0.0.1:{port}"
    with serving(Store("server"), port):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        running = subprocess.Popen(QUICK, env=environment(), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: list(Path("results").glob("records/*.json")))
    _, said = running.communicate()
    assert running.returncode == 0
    warning = said.splitlines()[-1]
    assert warning.startswith(f"ltbench: MLflow is not up to date: nothing answers at {uri}")
    assert warning.endswith("; run ltbench sync to complete it")
    assert len(Store("results").latest()) == 3
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with serving(Store("server"), port):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        subprocess.run([sys.executable, "-m", "ltbench", "sync"], env=environment(), check=True)
        found = {run.data.tags["cell"]: run.data.metrics["test/balanced_accuracy"] for run in runs("results", "seed")}
    assert found == {r.id: r.finished.last.balanced_accuracy for r in records(Path("results"))}


def children(process: int) -> list[int]:
    """Of a process, those that follow a run."""
    try:
        found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(child) for child in found if b"--follow" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes by /proc")
@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_however_a_run_ends_its_follower_ends_too(blow: signal.Signals) -> None:
    command = [*QUICK, "--set", "recipe.epochs=500"]
    running = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    (follower,) = wait_until(lambda: children(running.pid))
    os.killpg(running.pid, blow)
    running.wait()
    wait_until(lambda: not Path(f"/proc/{follower}").exists(), seconds=30)


def test_without_tracking_nothing_is_followed(ltbench: Cli) -> None:
    assert ltbench("run", *FAST, "--methods", "ce", "--no-tracking").status == 0
    assert not Path("results/mlflow").exists()
