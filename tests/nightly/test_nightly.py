"""``ltbench nightly``: what it compares, how it answers, and who may move the baseline."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.nightly.baseline import Baseline
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.tracking.nightly_runs import nightly_experiments
from tests.conftest import Answer
from tests.nightly.planted import ELSEWHERE, FEWER, PLANTS, ROOT, SLOWER, Edits
from tests.results.test_compared import elsewhere, shifted

Cli = Callable[..., Answer]
SUITE = """
datasets = ["digits"]
imbalance = [20]
methods = ["ce", "focal"]
seeds = 2
baseline_seeds = 0
recipe = { base = "digits", epochs = 1 }
"""
NIGHT = ("nightly", "--suite", "small.toml", "--baseline", "blessed", "--workers", "1", "--no-speed")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baseline is kept that all tests start from."""
    return tmp_path_factory.mktemp("baseline") / "blessed"


@pytest.fixture
def blessed(ltbench: Cli, once: Path) -> Store:
    """The baseline of two methods, blessed by one command."""
    Path("small.toml").write_text(SUITE)
    if not once.exists():
        answer = ltbench(*NIGHT, "--bless", "--because", "a first baseline")
        assert answer.status == 0, answer.err
        Path("blessed").rename(once)
    shutil.copytree(once, "blessed")
    return Baseline(Path("blessed")).store


def rewrite(store: Store, change: Callable[[Record], Record | None]) -> None:
    """Change the records of a baseline; None removes one."""
    found = list(store.latest().values())
    for path in (store.root / "records").iterdir():
        path.unlink()
    for record in map(change, found):
        if record is not None:
            store.add(record)


def test_a_clean_night_raises_no_alarm_and_leaves_no_networks(ltbench: Cli, blessed: Store) -> None:
    answer = ltbench(*NIGHT, "-o", "summary.md")
    assert answer.status == 0
    assert "2 rows: 2 identical" in answer.out
    assert "Nothing fell" in Path("summary.md").read_text()
    night = max(path for path in Path("nightly").iterdir() if path.is_dir())
    assert list((night / "records").iterdir())
    assert not list((night / "stages").iterdir())


def test_a_night_that_differs_names_the_methods_and_the_code(ltbench: Cli, blessed: Store) -> None:
    def edited(record: Record) -> Record:
        return shifted(record, 0.1, sources=record.sources | {"methods/focal.py focal_loss": "another"})

    rewrite(blessed, lambda record: edited(record) if record.method == "focal" else record)
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "FELL" in answer.out
    assert "digits/focal" in answer.out
    assert "digits/ce" not in answer.out.partition("FELL")[2]
    assert "methods/focal.py focal_loss" in answer.out


def test_on_another_machine_a_test_decides_and_says_what_it_finds(ltbench: Cli, blessed: Store) -> None:
    noise = (0.4, -0.3)
    rewrite(blessed, lambda r: elsewhere(shifted(r, noise[r.seed] + 20 * (r.method == "focal"))))
    answer = ltbench(*NIGHT, "--json")
    found = {row["entry"]: row for row in json.loads(answer.out)["rows"]}
    assert answer.status == 1
    assert (found["ce"]["verdict"], found["focal"]["verdict"]) == ("no difference", "worse")
    assert 0 < found["ce"]["detectable"] < 20


def test_the_history_has_every_night_and_a_plot_of_each_figure(ltbench: Cli, blessed: Store) -> None:
    assert ltbench(*NIGHT).status == 0
    rewrite(blessed, lambda r: shifted(r, 5.0) if r.method == "focal" else r)
    assert ltbench(*NIGHT).status == 1
    answer = ltbench("nightly", "--history")
    assert answer.status == 0
    assert answer.out.count("nothing") == 1
    assert "digits/focal" in answer.out
    assert Path("nightly/history-accuracy.svg").read_text().count("digits/") == 2
    assert [len(line["fell"]) for line in json.loads(ltbench("nightly", "--history", "--json").out)] == [0, 1]


def test_the_experiment_of_nights_has_a_run_of_each_and_names_that_mlflow_accepts() -> None:
    Path("nightly").mkdir()
    line = {"created": "2026-01-01T00:00:00+00:00", "folder": "2026-01-01-abc", "revision": "abc", "machine": "a chip"}
    line |= {"accuracy": {"digits/focal(gamma=2.0)": 50.0}, "ratios": {"test_step[ce]": 0.6}, "seconds": 60.0}
    lines = [json.dumps(line | {"fell": fell}) for fell in ([], ["test_step[ce] slower"])]
    Path("nightly/history.jsonl").write_text("\n".join(lines) + "\n")
    (experiment,) = nightly_experiments(Store("nightly"))
    history, first, second = experiment.runs
    assert first.metrics == {"accuracy/digits/focal.gamma.2.0": 50.0, "ratio/test_step.ce": 0.6, "fell": 0.0}
    assert (first.status, second.status) == ("FINISHED", "FAILED")
    assert [point.step for point in history.curves if point.metric == "fell"] == [0, 1]
    assert list(nightly_experiments(Store("another"))) == []


@pytest.mark.slow
def test_mlflow_has_a_run_of_each_night(ltbench: Cli, blessed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("LTBENCH_TRACKING", "1")
    assert ltbench(*NIGHT).status == 0
    answer = ltbench(*NIGHT)
    assert (answer.status, "MLflow is not" in answer.err) == (0, False)
    client = MlflowClient(f"sqlite:///{Path('nightly/mlflow/mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("nightly")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["kind"] for run in runs) == ["history", "night", "night"]
    assert all(run.data.metrics["accuracy/digits/ce"] > 0 for run in runs)
    (history,) = [run for run in runs if run.data.tags["kind"] == "history"]
    assert len(client.get_metric_history(history.info.run_id, "accuracy/digits/ce")) == 2


def test_a_history_without_nights_or_with_a_damaged_line_is_one_line(ltbench: Cli) -> None:
    assert "no nights in nightly" in ltbench("nightly", "--history").err
    Path("nightly").mkdir()
    for damaged in ("{", "[]", '{"fell": []}'):
        Path("nightly/history.jsonl").write_text(damaged)
        answer = ltbench("nightly", "--history")
        assert (answer.status, "line 1 of nightly/history.jsonl is not a night" in answer.err) == (2, True)


def test_a_lost_method_is_an_alarm(ltbench: Cli, blessed: Store) -> None:
    Path("small.toml").write_text(SUITE.replace(', "focal"', ""))
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "digits/focal missing" in answer.out


def test_a_failed_cell_is_an_alarm_and_cannot_be_blessed(
    ltbench: Cli, blessed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ltbench.engine import train

    def fail(*_: object) -> None:
        raise train.TrainingFailed("loss became nan")

    before = sorted(path.name for path in (blessed.root / "records").iterdir())
    monkeypatch.setattr(train, "_check_finite", fail)
    answer = ltbench(*NIGHT)
    assert answer.status == 1
    assert "digits/ce failed" in answer.out
    again = ltbench(*NIGHT, "--bless", "--because", "no reason")
    assert (again.status, "nothing was blessed" in again.err) == (2, True)
    assert sorted(path.name for path in (blessed.root / "records").iterdir()) == before


def test_blessing_says_who_when_why_and_on_which_revision(ltbench: Cli, blessed: Store) -> None:
    Path("small.toml").write_text(SUITE.replace(', "focal"', ""))
    assert ltbench(*NIGHT, "--bless", "--because", "focal is gone").status == 0
    lines = [json.loads(line) for line in Path("blessed/blessings.jsonl").read_text().splitlines()]
    assert [line["why"] for line in lines] == ["a first baseline", "focal is gone"]
    assert {*lines[1]} == {"who", "when", "why", "revision", "what", "machine"}
    assert all(lines[1].values())
    assert {record.method for record in blessed.latest().values()} == {"ce"}


def test_an_earlier_night_can_be_blessed_without_training(ltbench: Cli, blessed: Store) -> None:
    rewrite(blessed, lambda record: shifted(record, 5.0))
    assert ltbench(*NIGHT).status == 1
    night = max(path for path in Path("nightly").iterdir() if path.is_dir())
    before = {path: path.stat().st_mtime_ns for path in Path("nightly").rglob("*.json")}
    assert ltbench(*NIGHT, "--bless", "--because", "it is right", "--night", str(night)).status == 0
    assert {path: path.stat().st_mtime_ns for path in Path("nightly").rglob("*.json")} == before
    assert set(blessed.latest()) == set(Store(night).latest())
    assert ltbench(*NIGHT).status == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--bless",), "--bless needs a reason"),
        ((), "no baseline in"),
        (("--night", "nightly/x"), "--night names what to bless"),
        (("--because", "why"), "--because is the reason of --bless"),
        (("--bless", "--because", " "), "--bless needs a reason"),
    ],
)
def test_what_is_missing_is_one_line(ltbench: Cli, words: tuple[str, ...], says: str) -> None:
    Path("small.toml").write_text(SUITE)
    answer = ltbench(*NIGHT, *words)
    assert answer.status == 2
    assert says in answer.err
    assert not Path("nightly").exists()


@pytest.mark.parametrize("edits", [FEWER, SLOWER, ELSEWHERE, *(plant.edits for plant in PLANTS.values())])
def test_the_planted_regressions_still_fit_the_code(edits: Edits) -> None:
    for file, (old, _) in edits.items():
        assert (ROOT / file).read_text().count(old) == 1


def test_the_workflow_and_the_crontab_call_the_same_command() -> None:
    workflow = (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    (crontab,) = re.findall(r"^17 2 \* \* \* .*$", (ROOT / "docs" / "nightly.md").read_text(), re.M)
    (scheduled,) = re.findall(r'cron: "(.*)"', workflow)
    assert crontab.startswith(scheduled)
    assert re.findall(r"run: (ltbench .*)", workflow) == ["ltbench nightly", "ltbench nightly --history"]
    assert ".venv/bin/ltbench nightly >" in crontab
