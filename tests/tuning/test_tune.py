"""Tuning: the same budget for all, validation images only, and nothing lost by a kill."""

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ltbench.errors import InputError
from ltbench.plan.expand import Library, make_plan
from ltbench.plan.request import Request
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.options import RunOptions
from ltbench.tuning.journal import Journal, ask, studies, tell
from ltbench.tuning.study import STARTUP, Study
from ltbench.tuning.tune import Budget, prepare, tune, validation_images
from tests.conftest import MINE, Answer
from tests.runner.test_kill import DRIVER, drive

Cli = Callable[..., Answer]
SMALL = ("--imbalance", "20", "--set", "recipe.epochs=1", "--workers", "1", "--threads", "1")
REQUEST = Request(imbalance=("20",), changes={"recipe.epochs": 1})


def made(ltbench: Cli, *words: str) -> dict[str, dict]:
    answer = ltbench("tune", *SMALL, *words, "--json")
    assert answer.status == 0, answer.err
    return {study["method"]: study for study in json.loads(answer.out)}


# what a study is


def test_every_method_gets_the_same_trials_and_the_same_knobs(ltbench: Cli) -> None:
    found = made(ltbench, "--methods", "ce,focal,tau_norm", "--trials", "4")
    assert list(found) == ["ce", "focal", "tau_norm"]
    knobs = {
        name: [(t["params"]["recipe.lr"], t["params"]["recipe.weight_decay"]) for t in study["trials"]]
        for name, study in found.items()
    }
    assert knobs["ce"] == knobs["focal"] == knobs["tau_norm"]
    assert len(set(knobs["ce"])) == 4
    assert knobs["ce"][0] == (0.1, 2e-4)
    assert found["focal"]["trials"][0]["params"]["gamma"] == 1.0
    assert len({t["params"]["gamma"] for t in found["focal"]["trials"]}) == 4
    assert all(t["state"] == "complete" for study in found.values() for t in study["trials"])
    assert set(found["tau_norm"]["trials"][0]["params"]) == {"tau", "recipe.lr", "recipe.weight_decay"}
    assert found["ce"]["facts"]["sampler_seed"] == 0
    assert found["ce"]["facts"]["optuna"].split(".")[0].isdigit()


def test_values_are_those_of_the_validation_images(ltbench: Cli) -> None:
    study = made(ltbench, "--methods", "ce", "--trials", "2")["ce"]
    records = Store("results/tuning").latest().values()
    values = {record.finished.last.balanced_accuracy for record in records}
    assert {trial["value"] for trial in study["trials"]} == values
    for record in records:
        assert record.finished.measured_on == "val"
        assert "best-on-test" not in record.finished.protocols
        assert all(entry.val and not entry.test for entry in record.finished.evaluations)
        assert record.finished.test_counts == (20,) * 10
        assert record.holdout == 20
        assert record.seed == 1000
    assert not Path("results/records").exists()


def test_a_stage_that_methods_share_is_trained_once_for_all_of_them(ltbench: Cli) -> None:
    made(ltbench, "--methods", "ce,tau_norm,logit_adjustment_posthoc", "--trials", "3")
    trained = [r for r in Store("results/tuning").latest().values() if r.finished.cost.reused_seconds == 0]
    assert len(trained) == 3


def test_more_trials_go_on_with_the_study(ltbench: Cli) -> None:
    first = made(ltbench, "--methods", "focal", "--trials", "2")["focal"]["trials"]
    more = made(ltbench, "--methods", "focal", "--trials", str(STARTUP + 2))["focal"]["trials"]
    assert more[:2] == first
    assert len(more) == STARTUP + 2
    assert all(0.25 <= trial["params"]["gamma"] <= 3.0 for trial in more)
    assert made(ltbench, "--methods", "focal", "--trials", "2")["focal"]["trials"] == more


def test_values_set_by_hand_are_not_searched(ltbench: Cli) -> None:
    study = made(ltbench, "--methods", "focal", "--trials", "2", "--set", "focal.gamma=2.5")["focal"]
    assert all(set(trial["params"]) == {"recipe.lr", "recipe.weight_decay"} for trial in study["trials"])
    records = Store("results/tuning").latest().values()
    assert [record.chain[-1].hyperparameters["gamma"] for record in records] == [2.5, 2.5]


def test_validation_images_are_a_twentieth_of_the_smallest_class() -> None:
    images = make_plan(replace(REQUEST, methods=("ce",))).cells[0].images

    def of(smallest: int) -> int:
        labels = np.repeat(np.arange(2), [9000, smallest])
        train = replace(images.train, labels=labels)
        return validation_images(replace(images, train=train, classes=("a", "b")))

    assert [of(n) for n in (500, 5000, 60, 10)] == [25, 250, 15, 2]
    assert validation_images(replace(images, val=images.train)) == 0
    with pytest.raises(InputError, match=r"class 'b' of digits has 3 images, too few to set some aside for tuning"):
        of(3)


# pruning


def test_a_trial_is_pruned_between_whole_trainings_only() -> None:
    [(_, [search])] = prepare(replace(REQUEST, methods=("ce",)), Budget(seeds=2), Library())
    with Journal(Path("results/tuning"), search.name).opened(search.facts, 0) as study:
        ask(study, search.space, search.defaults, STARTUP, 2)
        for number in range(STARTUP // 2):
            tell(study, number, [50.0 + number], 1.0, "", seeds=2)  # too few others to compare with
            tell(study, number, [50.0 + number, 40.0], 2.0, "", seeds=2)
        tell(study, 5, [51.9], 1.0, "", seeds=2)
        tell(study, 6, [52.1], 1.0, "", seeds=2)
        tell(study, 7, [99.0], 1.0, "loss became nan", seeds=2)
    found = studies("results")[0]
    assert [trial["state"] for trial in found.trials] == ["complete"] * 5 + ["pruned", "running", "failed"] + [
        "running"
    ] * 2
    assert found.trials[4]["value"] == 47.0
    assert found.trials[5]["value"] is None
    assert found.trials[7]["reason"] == "loss became nan"


def test_a_trial_with_two_seeds_is_their_mean(ltbench: Cli) -> None:
    study = made(ltbench, "--methods", "ce", "--trials", "1", "--seeds", "2")["ce"]
    records = Store("results/tuning").latest().values()
    assert sorted(record.seed for record in records) == [1000, 1001]
    values = [record.finished.last.balanced_accuracy for record in records]
    assert study["trials"][0]["value"] == pytest.approx(np.mean(values))


# the test split is out of reach


ASKS = MINE.replace(
    "temperature = Range(2.0, 0.5, 4.0, log=True)",
    """temperature = Range(2.0, 0.5, 4.0, log=True)

    def stages(self):
        return (Stage(), Stage("peek", epochs=0, finish=self.peek))

    def peek(self, net, features):
        features("test")
""",
).replace("Range\n", "Range, Stage\n")

# a method that searches all objects of its process
LOOKS = MINE.replace(
    "temperature = Range(2.0, 0.5, 4.0, log=True)",
    """temperature = Range(2.0, 0.5, 4.0, log=True)

    def setup(self, counts):
        import gc
        from ltbench.data import ImageSet, LongTailed
        seen = [x for x in gc.get_objects() if isinstance(x, (ImageSet, LongTailed))]
        assert seen
        assert any(x.test is not None for x in seen), "there is no test split here"
""",
)


@pytest.mark.parametrize(
    ("source", "reason"),
    [(ASKS, "may look at 'train' and 'val', not at 'test'"), (LOOKS, "there is no test split here")],
    ids=["asks", "looks"],
)
def test_a_method_that_tries_to_see_the_test_split_is_refused(ltbench: Cli, source: str, reason: str) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(source)
    answer = ltbench("tune", *SMALL[:-4], "--workers", "2", "--methods", "mine", "--trials", "2", "--json")
    assert answer.status == 1
    study = json.loads(answer.out)[0]
    assert [trial["state"] for trial in study["trials"]] == ["failed", "failed"]
    assert all(reason in trial["reason"] for trial in study["trials"])


# kills, and two at once


TUNE = DRIVER.replace('"ltbench", "run", *fast, *options', '"ltbench", "tune", *fast, *options').replace(
    '["--methods", "ce,class_balanced_sampling,focal,ldam_drw,crt,aux_random", "--seeds", "1"]',
    '["--methods", "ce,focal,tau_norm", "--trials", "5"]',
)


def counted(results: str = "results") -> dict[str, list[str]]:
    return {study.method: [trial["state"] for trial in study.trials] for study in studies(results)}


@pytest.fixture
def tune_driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[int]]:
    assert "tune" in TUNE
    assert "--trials" in TUNE
    monkeypatch.setattr("tests.runner.test_kill.DRIVER", TUNE)
    return drive


@pytest.mark.slow
def test_killed_and_started_again(tune_driver: Callable[[str], list[int]]) -> None:
    answers = tune_driver("""
random.seed(int.from_bytes(os.urandom(4), "big"))
statuses = []
for _ in range(8):
    pid = child()
    time.sleep(random.uniform(0.3, 1.5))
    os.kill(pid, signal.SIGKILL)
    statuses.append(wait(pid))
statuses.append(wait(child()))
print(statuses)
""")
    assert -9 in answers[:-1]
    assert answers[-1] == 0
    assert counted() == dict.fromkeys(["ce", "focal", "tau_norm"], ["complete"] * 5)
    cells = [record.id for record in Store("results/tuning").attempts()]
    assert len(cells) == len(set(cells)) == 15


@pytest.mark.slow
def test_two_processes_on_the_same_studies(tune_driver: Callable[[str], list[int]]) -> None:
    assert tune_driver("both = [child(), child()]\nprint([wait(pid) for pid in both])") == [0, 0]
    assert counted() == dict.fromkeys(["ce", "focal", "tau_norm"], ["complete"] * 5)
    assert len(Store("results/tuning").attempts()) == 15


def test_a_training_whose_process_died_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def trainer(store, options, library, reporter):
        def train(plan) -> None:  # every training dies
            for planned in plan.cells:
                reason = {"reason": "its process ended", "died": True}
                store.add(Record.of(planned.cell, suite="quickstart", command="", **reason))

        train.workers = 1
        yield train

    monkeypatch.setattr("ltbench.tuning.tune.trainer", trainer)
    budget, library = Budget(trials=2), Library()
    searches = prepare(replace(REQUEST, methods=("ce",)), budget, library)
    (study,) = tune(searches, Path("results"), budget, RunOptions(), library)
    assert [trial["state"] for trial in study.trials] == ["failed", "failed"]
    assert len(Store("results/tuning").attempts()) == 4


# run --tuned


def test_tuned_and_default_are_rows_of_one_table(ltbench: Cli) -> None:
    study = made(ltbench, "--methods", "ce", "--trials", "3")["ce"]
    answer = ltbench("run", *SMALL, "--methods", "ce", "--seeds", "2", "--tuned")
    assert answer.status == 0, answer.err
    assert "ce (tuned 3)" in answer.out
    board = {row["method"]: row for row in json.loads(ltbench("leaderboard", "--json").out)}
    assert set(board) == {"ce", "ce (tuned 3)"}
    assert {(row["recipe"], row["seeds"]) for row in board.values()} == {("digits[epochs=1]", 2)}
    records = [record for record in Store("results").latest().values() if record.trials]
    recipe = records[0].recipe_values
    assert {f"recipe.{knob}": recipe[knob] for knob in ("lr", "weight_decay")} == study["best"]["params"]
    assert records[0].holdout == 0
    assert records[0].finished.measured_on == "test"
    assert records[0].command.startswith("ltbench run --suite quickstart --datasets digits --imbalance 20 --methods ce")
    assert "--tuned" in records[0].command
    again = ltbench("run", *SMALL, "--methods", "ce", "--seeds", "2", "--tuned")
    assert "4 done, 0 to do" in again.err


def test_where_the_defaults_win_nothing_is_trained_twice(ltbench: Cli) -> None:
    made(ltbench, "--methods", "ce", "--trials", "1")
    assert ltbench("run", *SMALL, "--methods", "ce", "--seeds", "1", "--tuned").status == 0
    default, tuned = sorted(Store("results").latest().values(), key=lambda record: record.trials)
    for name in ("protocols", "losses", "hits"):
        assert getattr(default.finished, name) == getattr(tuned.finished, name)
    assert tuned.finished.cost.reused_seconds == tuned.finished.cost.train_seconds


def test_run_tuned_says_what_is_missing(ltbench: Cli) -> None:
    answer = ltbench("run", *SMALL, "--methods", "ce", "--tuned")
    assert answer.status == 2
    assert (
        "study 'digits--20--digits-epochs-1--ce' does not exist in results; create it with ltbench tune" in answer.err
    )
    made(ltbench, "--methods", "ce", "--trials", "1")
    made(ltbench, "--methods", "focal", "--trials", "2")
    answer = ltbench("run", *SMALL, "--methods", "ce,focal", "--tuned")
    assert answer.status == 2
    assert "had 1 trials" in answer.err
    assert "--trials 2 makes them equal" in answer.err
    assert not Path("results/records").exists()


def test_run_tuned_after_an_edit(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    made(ltbench, "--methods", "mine", "--trials", "1")
    Path("methods/mine.py").write_text(MINE + "\n# a comment changes no number\n")
    assert ltbench("run", *SMALL, "--methods", "mine", "--tuned", "--dry-run").status == 0
    Path("methods/mine.py").write_text(MINE.replace("/ self.temperature", "/ (2 * self.temperature)"))
    answer = ltbench("run", *SMALL, "--methods", "mine", "--tuned")
    assert answer.status == 2
    assert "is of another version of the method, images or recipe" in answer.err


# wrong input


def test_no_trials(ltbench: Cli) -> None:
    answer = ltbench("tune", *SMALL, "--methods", "ce", "--trials", "0")
    assert answer.status == 2
    assert "--trials" in answer.err
    assert "greater than or equal to 1" in " ".join(answer.err.split())


def test_a_study_of_another_space(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    made(ltbench, "--methods", "mine", "--trials", "1")
    journal = Path("results/tuning/studies/digits--20--digits-epochs-1--mine.journal")
    before = journal.read_bytes()
    Path("methods/mine.py").write_text(MINE.replace("0.5, 4.0", "0.5, 8.0"))
    answer = ltbench("tune", *SMALL, "--methods", "mine", "--trials", "2")
    assert answer.status == 2
    assert "was created with other sources and space" in answer.err
    assert f"delete {journal} to start again" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert journal.read_bytes() == before


def test_other_seeds_are_another_study(ltbench: Cli) -> None:
    made(ltbench, "--methods", "ce", "--trials", "1")
    answer = ltbench("tune", *SMALL, "--methods", "ce", "--trials", "1", "--seeds", "2")
    assert answer.status == 2
    assert "was created with other seeds (1, now 2)" in answer.err


@pytest.mark.parametrize("cut", [1, 25])
def test_a_journal_cut_in_the_middle_of_a_line(ltbench: Cli, cut: int) -> None:
    before = made(ltbench, "--methods", "ce", "--trials", "2")["ce"]
    journal = next(Path("results/tuning/studies").iterdir())
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert studies("results")[0].ended == 1
    after = made(ltbench, "--methods", "ce", "--trials", "2")["ce"]
    assert after["trials"] == before["trials"]
    assert len(Store("results/tuning").attempts()) == 2


def test_a_journal_cut_where_it_begins(ltbench: Cli) -> None:
    made(ltbench, "--methods", "ce", "--trials", "1")
    journal = next(Path("results/tuning/studies").iterdir())
    whole = journal.read_bytes()
    for end in (0, 10, whole.index(b"\n") + 1, whole.index(b"facts")):
        journal.write_bytes(whole[:end])
        assert studies("results") == []
        assert made(ltbench, "--methods", "ce", "--trials", "1")["ce"]["trials"][0]["state"] == "complete"


def test_a_journal_that_is_none(ltbench: Cli) -> None:
    made(ltbench, "--methods", "ce", "--trials", "1")
    journal = next(Path("results/tuning/studies").iterdir())
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"no journal\n" + b"".join(lines[1:]))
    answer = ltbench("tune", *SMALL, "--methods", "ce", "--trials", "1")
    assert answer.status == 2
    assert f"{journal} is not a journal of a study" in answer.err


def test_a_variant_is_not_tuned(ltbench: Cli) -> None:
    answer = ltbench("tune", *SMALL, "--methods", "focal(gamma=2)", "--trials", "1")
    assert answer.status == 2
    assert "method entry 'focal(gamma=2)' has its own values" in answer.err


def test_facts_of_a_search_are_json() -> None:
    for _, searches in prepare(replace(REQUEST, methods=("ce", "crt")), Budget(), Library()):
        for search in searches:
            assert json.loads(json.dumps(search.facts)) == search.facts
            assert set(search.defaults) == set(search.space)
    with pytest.raises(InputError, match="unknown method"):
        prepare(replace(REQUEST, methods=("nothing",)), Budget(), Library())


# what is read from a study


def test_expected_best_is_the_mean_over_all_draws() -> None:
    values = [10.0, 40.0, 40.0, 25.0]
    trials = [{"state": "complete", "value": value, "seconds": 1.0} for value in values]
    study = Study(
        "s", "q", "ce", "d", "20", "r", [*trials, {"state": "failed", "value": None, "seconds": 1.0}], {}, None
    )
    drawn = [*values, 10.0]  # a failed one counts as the worst
    literal = [np.mean([max(draw) for draw in itertools.product(drawn, repeat=n)]) for n in range(1, 6)]
    assert study.expected_best() == pytest.approx(literal)
    assert study.best == trials[1]


def test_importances_find_what_decides() -> None:
    [(_, [search])] = prepare(replace(REQUEST, methods=("ce",)), Budget(), Library())
    with Journal(Path("results/tuning"), search.name).opened(search.facts, 0) as study:
        ask(study, search.space, search.defaults, STARTUP, 2)
        for trial in study.get_trials():
            assert studies("results")[0].importances() == {}  # too few to tell
            tell(study, trial.number, [50.0 - 5 * abs(trial.params["log2_lr"] - 1)], 1.0, "", seeds=1)
    found = studies("results")[0].importances()
    assert list(found) == ["recipe.lr", "recipe.weight_decay"]
    assert sum(found.values()) == pytest.approx(1)
    assert found["recipe.lr"] > 0.6
