"""``ltbench run``: the main job, and one line for every wrong input."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltbench.plan.cell import Cell
from ltbench.results.store import Store
from tests.conftest import FAST, MINE, Answer, numbers, records

Cli = Callable[..., Answer]


def test_run_then_run_again(ltbench: Cli) -> None:
    answer = ltbench("run", *FAST)
    assert answer.status == 0
    assert "14 cells under recipe digits[epochs=2], 0 done, 14 to do" in answer.err
    assert "19 stages, 5 of them shared and trained only once" in answer.err
    assert "[14/14] digits / 20 / tau_norm / seed 0" in answer.err
    for name in ("ce", "class_balanced_sampling", "focal", "crt", "aux_random", "†", "One seed: not compared"):
        assert name in answer.out
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.*")}
    again = ltbench("run", *FAST)
    assert again.status == 0
    assert "14 done, 0 to do" in again.err
    assert again.out == answer.out
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.*")} == before


def test_the_same_cell_twice_gives_the_same_record(ltbench: Cli) -> None:
    for results in ("one", "two"):
        assert ltbench("run", *FAST, "--methods", "aux_random", "--results", results).status == 0
    (one,), (two,) = records("one").values(), records("two").values()
    assert numbers(one) == numbers(two)
    first, second = Store("one").arrays(one), Store("two").arrays(two)
    assert all(np.array_equal(first[name], second[name]) for name in ("logits", "labels"))


def test_a_reused_stage_gives_the_numbers_of_training_from_the_start(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "crt", "--results", "alone")
    ltbench("run", *FAST, "--methods", "ce", "--results", "shared")
    answer = ltbench("run", *FAST, "--methods", "crt", "--results", "shared")
    assert "of them reused" in answer.err
    (alone,) = records("alone").values()
    shared = records("shared")[alone.id]
    assert shared.finished.cost.reused_seconds > 0 == alone.finished.cost.reused_seconds
    assert numbers(shared) == numbers(alone)
    logits = [Store(results).arrays(alone)["logits"] for results in ("alone", "shared")]
    assert np.array_equal(*logits)
    reverse = ltbench("run", *FAST, "--methods", "ce", "--results", "alone")
    assert "of them reused" in reverse.err
    assert {r.id: numbers(r) for r in records("alone").values()} == {
        r.id: numbers(r) for r in records("shared").values()
    }


def test_variants_of_a_method_stand_side_by_side(ltbench: Cli) -> None:
    asked = "focal, focal(gamma=2), focal(gamma=1.0), aux_random(samplers=swapped, weight=0.5)"
    answer = ltbench("run", *FAST, "--methods", asked)
    assert answer.status == 0
    rows = json.loads(ltbench("leaderboard", "--format", "json").out)
    variants = {"focal", "focal(gamma=2.0)", "aux_random(samplers=swapped, weight=0.5)"}
    assert {row["method"] for row in rows} == variants  # focal(gamma=1.0) is focal
    for record in records().values():
        words = shlex.split(record.command)
        assert ltbench(*words[1:], "--results", "again").status == 0
    assert records("again").keys() == records().keys()


def test_subset_seeds_are_tables_of_their_own_with_their_spread_below(ltbench: Cli) -> None:
    answer = ltbench("run", *FAST, "--methods", "ce,focal", "--seeds", "2", "--subset-seeds", "0,5")
    assert answer.status == 0
    assert "8 cells" in answer.err
    assert {(r.subset_seed, r.seed) for r in records().values()} == {(0, 0), (0, 1), (5, 0), (5, 1)}
    lines = answer.out.splitlines()
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2]") == 1
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2] · subset seed 5") == 1
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2] · spread over subset seeds") == 1
    assert all(row["seeds"] == 2 for row in json.loads(ltbench("leaderboard", "--json").out))
    record = next(r for r in records().values() if (r.subset_seed, r.seed) == (5, 1))
    assert ltbench(*shlex.split(record.command)[1:], "--results", "again").status == 0
    (again,) = records("again").values()
    assert numbers(again) == numbers(record)
    same = ltbench("run", *FAST, "--methods", "ce,focal", "--seeds", "2", "--set", "subset_seed=5", "--dry-run")
    assert "4 done, 0 to do" in same.err


def test_a_cell_that_fails_is_a_row_with_the_reason(ltbench: Cli) -> None:
    Path("methods").mkdir()
    text = MINE.replace("class Mine", "class Nan").replace("/ self.temperature", "* (clock.progress - 0.5).sqrt()")
    Path("methods/nan.py").write_text(text)
    Path("methods/bad.py").write_text(text.replace("class Nan", "class Bad").replace("net(", "net.nothing("))
    answer = ltbench("run", *FAST, "--methods", "nan,ce,bad")
    assert answer.status == 1
    assert "FAILED: nan (digits / 20): loss became nan in stage 'train', epoch 1 of 2, step 1" in answer.out
    assert "FAILED: bad (digits / 20): AttributeError" in answer.out
    assert {r.method: r.status for r in records().values()} == {"nan": "failed", "bad": "failed", "ce": "done"}
    status = ltbench("status")
    assert "loss became nan" in status.out
    failed = next(record for record in records().values() if record.method == "nan")
    assert "failed: loss became nan" in ltbench("show", failed.id).out


def test_dry_run_and_shards_write_nothing_and_cover_everything(ltbench: Cli) -> None:
    whole = json.loads(ltbench("run", "--dry-run", "--json").out)
    parts = [json.loads(ltbench("run", "--dry-run", "--json", "--shard", f"{i}/4").out) for i in (1, 2, 3, 4)]
    assert len(whole) == 92  # 14 methods x 2 imbalances x 3 seeds, and 4 more seeds of ce
    assert sorted(cell["id"] for part in parts for cell in part) == sorted(cell["id"] for cell in whole)
    assert not Path("results").exists()


def test_the_baseline_gets_more_seeds_than_the_others_unless_seeds_are_named(ltbench: Cli) -> None:
    def seeds(*words: str) -> dict[str, set[int]]:
        answer = ltbench("run", "--dry-run", "--json", "--imbalance", "20", *words)
        found: dict[str, set[int]] = {}
        for cell in json.loads(answer.out):
            found.setdefault(cell["method"], set()).add(cell["seed"])
        assert ("ce also with seeds" in answer.err) == (len({len(of_method) for of_method in found.values()}) > 1)
        return found

    assert seeds("--methods", "ce,crt,focal") == {"ce": set(range(7)), "crt": {0, 1, 2}, "focal": {0, 1, 2}}
    assert seeds("--methods", "ce,crt", "--seeds", "3") == {"ce": {0, 1, 2}, "crt": {0, 1, 2}}
    assert seeds("--methods", "ce") == {"ce": {0, 1, 2}}  # compared with nothing
    assert seeds("--methods", "crt,focal") == {"crt": {0, 1, 2}, "focal": {0, 1, 2}}
    Path("one.toml").write_text('datasets = ["digits"]\nseeds = 1\nrecipe = "digits"\nmethods = ["ce", "focal"]')
    assert seeds("--suite", "one.toml") == {"ce": {0}, "focal": {0}}  # one seed is not compared
    Path("two.toml").write_text(Path("one.toml").read_text().replace("seeds = 1", "seeds = [0, 5]\nbaseline_seeds = 1"))
    assert [len(of) for of in seeds("--suite", "two.toml").values()] == [3, 2]


def test_two_plans_of_one_cell_agree_on_its_identity(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "4,", "--methods", "ce").out)
    among_others = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "5").out)
    assert {cell["id"] for cell in plain} < {cell["id"] for cell in among_others}
    monkeypatch.setattr("ltbench.plan.cell.engine_digest", lambda: "of another engine")
    assert isinstance(Cell.__dataclass_fields__["seed"].default, int)
    newer = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "4,", "--methods", "ce").out)
    assert {cell["id"] for cell in plain}.isdisjoint(cell["id"] for cell in newer)


def test_an_interruption_keeps_what_is_finished(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import ltbench.runner.one_cell as execute

    whole = execute.run_cell
    calls: list[int] = []

    def stopping(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "run_cell", stopping)
    answer = ltbench("run", *FAST, "--methods", "ce,focal")
    assert answer.status == 130
    assert "repeat the command to continue" in answer.err
    assert [r.method for r in records().values()] == ["ce"]
    monkeypatch.undo()


def test_an_interrupted_command_that_trains_nothing_does_not_speak_of_cells(
    ltbench: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ltbench.method.registry.discover", interrupted)
    answer = ltbench("ls", "methods")
    assert (answer.status, answer.err) == (130, "ltbench: interrupted\n")


WRONG = {
    "suite": (["--suite", "cifar10lt"], "unknown suite 'cifar10lt'; did you mean 'cifar10-lt'"),
    "method": (["--methods", "ldma_drw"], "unknown method 'ldma_drw'; did you mean 'ldam_drw'"),
    "data set": (["--datasets", "digit"], "unknown data set 'digit'; did you mean 'digits'"),
    "backbone": (
        ["--set", "recipe.backbone=resnet8_cifr"],
        "unknown backbone 'resnet8_cifr'; did you mean 'resnet8_cifar'",
    ),
    "imbalance": (["--imbalance", "0.5"], "imbalance 0.5 is below 1"),
    "imbalance text": (["--imbalance", "strong"], "imbalance 'strong' is not understood"),
    "empty class": (["--imbalance", "500"], "imbalance 500 leaves class 7 without an image"),
    "setting": (["--set", "recipe.epoch=3"], "unknown recipe setting 'epoch'; did you mean 'epochs'"),
    "setting of nothing": (["--set", "epochs=3"], "unknown setting 'epochs'; did you mean 'recipe.epochs'"),
    "setting of a method": (["--set", "focal.gama=3"], "unknown hyper-parameter of focal 'gama'; did you mean 'gamma'"),
    "value": (["--set", "recipe.epochs=many"], "recipe.epochs=many"),
    "no value": (["--set", "recipe.epochs"], "--set recipe.epochs is not understood"),
    "seeds": (["--seeds", "x"], "--seeds x is not understood"),
    "no seeds": (["--seeds", "0"], "--seeds 0 is not understood"),
    "device": (["--device", "gpu"], "unknown device 'gpu'"),
    "no such device": (["--device", "cuda:99"], "device 'cuda:99' does not exist"),
    "shard": (["--shard", "9/8"], "--shard 9/8 is not understood"),
    "data place": (["--data", "cifar11=x"], "unknown data set 'cifar11'; did you mean 'cifar10'"),
    "methods folder": (["--methods-dir", "nowhere"], "methods folder nowhere does not exist"),
    "holdout": (["--set", "holdout=120"], "holdout of 120 images per class"),
    "results": (["--results", "/proc/results"], "results folder /proc/results cannot be written"),
    "no file": (
        ["--images-in", "file"],
        "digits has no packed file, only image folders have one; use --images-in host",
    ),
    "no imagenet": (["--suite", "imagenet-lt"], "--data imagenet-lt=imagefolder:PATH"),
    "no folder": (["--datasets", "imagefolder:nowhere"], "image folder nowhere does not exist"),
    "variant": (["--methods", "focal(gamma)"], "method entry 'focal(gamma)' is not understood; write NAME"),
    "variant's value": (["--methods", "focal(gama=2)"], "unknown hyper-parameter of focal 'gama'; did you mean"),
    "backbone without branches": (
        ["--methods", "ride", "--set", "recipe.backbone=vit_tiny_patch16_224", "--set", "recipe.image_size=32"],
        "backbone 'vit_tiny_patch16_224' cannot be split into branches",
    ),
    "no transformer": (
        ["--methods", "lift"],
        "lift cannot be trained with backbone 'resnet8_cifar': lift needs a vision transformer; set recipe.backbone",
    ),
    "empty list": (["--methods", ","], "an empty list of names"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing_behind(ltbench: Cli, case: str, own_place: Path) -> None:
    options, message = WRONG[case]
    answer = ltbench("run", *options)
    assert answer.status == 2
    culprit = [line for line in answer.err.splitlines() if line.startswith("ltbench: ")]
    assert len(culprit) == 1
    assert message in culprit[0]
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert list(own_place.iterdir()) == []


def test_a_wrong_key_in_a_suite_file_is_named_with_its_line(ltbench: Cli) -> None:
    Path("mine.toml").write_text('datasets = ["digits"]\nimbalance = 20\nmethod = ["ce"]\n')
    answer = ltbench("run", "--suite", "mine.toml")
    assert answer.status == 2
    assert answer.err == (
        "ltbench: suite mine.toml, line 3: unknown key 'method'; did you mean 'methods'? "
        "(known: about, after, as_published, baseline_seeds, datasets, holdout, hyperparameters, imbalance, methods, "
        "name, profile, recipe, seeds, subset_seeds)\n"
    )


AS_PUBLISHED = """from ltbench import Method, Published, Range


class Mine(Method):
    strength = Range(1.0, 0.0, 2.0)
    published = (
        Published(dataset="digits", imbalance="20", accuracy=60.0, source="A", family="F2", grade="A", epoch="last",
                  backbone="resnet8_cifar", subset_seed=0,
                  settings={"strength": 0.5, "recipe.epochs": 1, "recipe.batch_size": 32}),
    )
"""


def test_methods_are_trained_as_published_in_a_table_of_their_own(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(AS_PUBLISHED)
    words = ("run", "--imbalance", "20", "--methods", "mine,ce", "--seeds", "2")
    answer = ltbench(*words, "--as-published")
    assert answer.status == 0
    assert "skipped: ce as published on digits / 20: no published accuracy" in answer.err
    assert "2 cells as published, 0 done, 2 to do" in answer.err
    assert "digits · imbalance 20 · as published" in answer.out
    (row,) = json.loads(ltbench("leaderboard", "--format", "json").out)
    assert (row["method"], row["published"]) == ("mine(strength=0.5)", 60.0)
    assert " ± " in row["verdict"]
    assert "2 done, 0 to do" in ltbench(*words, "--as-published").err
    for record in records().values():
        assert ltbench(*shlex.split(record.command)[1:], "--results", "again").status == 0
    assert records("again").keys() == records().keys()
    assert ltbench("report").status == 0
    assert "not comparable" not in row["verdict"]
    refused = ltbench(*words, "--as-published", "--tuned")
    assert (refused.status, "tuning replaces published values" in refused.err) == (2, True)
