"""The command line as its user knows it: the main job, its answers, and one line for every wrong input."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ltbench as package
from ltbench.plan.cell import Cell
from ltbench.results.store import Store
from ltbench.show.tables import render
from tests.conftest import FAST, Answer

Cli = Callable[..., Answer]

MINE = '''"""Mine: cross-entropy with a temperature. Deviation: all of it."""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range


class Mine(Method):
    """Cross-entropy at a temperature."""

    temperature = Range(2.0, 0.5, 4.0, log=True)

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(net(batch.images) / self.temperature, batch.labels)
'''


def records(results: str = "results") -> dict[str, dict]:
    return Store(results).latest()


def numbers(record: dict) -> dict:
    """All of a record that must not depend on when, how fast and where it was made."""
    costs = {key: record["cost"][key] for key in ("images",)}
    left_out = ("created", "cost", "environment", "command", "suite", "images_in")
    return {key: value for key, value in record.items() if key not in left_out} | {"cost": costs}


# the main job


def test_run_then_run_again(ltbench: Cli) -> None:
    answer = ltbench("run", *FAST)
    assert answer.status == 0
    assert "15 cells under recipe digits[epochs=2], 0 done, 15 to do" in answer.err
    assert "5 of their 20 stages are shared, not trained again" in answer.err
    assert "[15/15] digits / 20 / tau_norm / seed 0" in answer.err
    for name in ("ce", "class_balanced_sampling", "focal", "ldam_drw", "crt", "aux_random", "★", "†"):
        assert name in answer.out
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.*")}
    again = ltbench("run", *FAST)
    assert again.status == 0
    assert "15 done, 0 to do" in again.err
    assert again.out == answer.out
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.*")} == before


def test_the_same_cell_twice_gives_the_same_record(ltbench: Cli) -> None:
    for results in ("one", "two"):
        assert ltbench("run", *FAST, "--methods", "aux_random", "--results", results).status == 0
    (one,), (two,) = records("one").values(), records("two").values()
    assert numbers(one) == numbers(two)
    first, second = Store("one").arrays(one["id"]), Store("two").arrays(one["id"])
    assert all(np.array_equal(first[name], second[name]) for name in ("logits", "labels"))


def test_a_reused_stage_gives_the_numbers_of_training_from_the_start(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "crt", "--results", "alone")
    ltbench("run", *FAST, "--methods", "ce", "--results", "shared")
    answer = ltbench("run", *FAST, "--methods", "crt", "--results", "shared")
    assert "of it reused" in answer.err
    (alone,) = records("alone").values()
    shared = records("shared")[alone["id"]]
    assert shared["cost"]["reused_seconds"] > 0 == alone["cost"]["reused_seconds"]
    assert numbers(shared) == numbers(alone)
    logits = [Store(results).arrays(alone["id"])["logits"] for results in ("alone", "shared")]
    assert np.array_equal(*logits)
    reverse = ltbench("run", *FAST, "--methods", "ce", "--results", "alone")
    assert "of it reused" in reverse.err
    assert {numbers(r)["id"]: numbers(r) for r in records("alone").values()} == {
        numbers(r)["id"]: numbers(r) for r in records("shared").values()
    }


def test_a_method_of_twenty_lines_stands_in_the_table(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "ce")
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    assert "Cross-entropy at a temperature." in ltbench("ls", "methods").out
    answer = ltbench("run", *FAST, "--methods", "ce,mine")
    assert answer.status == 0
    assert "1 done, 1 to do" in answer.err
    assert "mine" in answer.out
    tuned = ltbench("run", *FAST, "--methods", "mine", "--set", "mine.temperature=3")
    assert "mine(temperature=3.0)" in tuned.out


def test_variants_of_a_method_stand_side_by_side(ltbench: Cli) -> None:
    asked = "focal, focal(gamma=2), focal(gamma=1.0), aux_random(samplers=swapped, weight=0.5)"
    answer = ltbench("run", *FAST, "--methods", asked)
    assert answer.status == 0
    rows = json.loads(ltbench("leaderboard", "--format", "json").out)
    variants = {"focal", "focal(gamma=2.0)", "aux_random(samplers=swapped, weight=0.5)"}
    assert {row["method"] for row in rows} == variants  # focal(gamma=1.0) is focal
    for record in records().values():
        words = shlex.split(record["command"])
        assert ltbench(*words[1:], "--results", "again").status == 0
    assert records("again").keys() == records().keys()


def test_editing_a_method_makes_only_its_results_stale(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    ltbench("run", *FAST, "--methods", "ce,mine")
    Path("methods/mine.py").write_text(MINE.replace("2.0, 0.5", "1.5, 0.5"))
    assert "2 cells under recipe digits[epochs=2], 1 done, 1 to do" in ltbench("run", *FAST, "--methods", "ce,mine").err
    board = json.loads(ltbench("leaderboard", "--json").out)
    assert sorted(row["method"] for row in board) == ["ce", "mine"]
    status = json.loads(ltbench("status", "--json").out)
    assert sorted((cell["method"], cell["state"]) for cell in status) == [("ce", "done"), ("mine", "done")]


@pytest.mark.parametrize(("asked", "status"), [("*", 0), ("ce,mine", 1)])
def test_a_broken_file_is_named_and_the_rest_runs(ltbench: Cli, asked: str, status: int) -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE + "\nundefined_name\n")
    answer = ltbench("run", *FAST, "--methods", asked)
    assert answer.status == status
    lines = [line for line in answer.err.splitlines() if "mine.py" in line]
    assert len(lines) == 1
    assert "NameError: name 'undefined_name' is not defined" in lines[0]
    assert "ce" in {record["method"] for record in records().values()}


def test_a_cell_that_fails_is_a_row_with_the_reason(ltbench: Cli) -> None:
    Path("methods").mkdir()
    text = MINE.replace("class Mine", "class Nan").replace("/ self.temperature", "* (clock.progress - 0.5).sqrt()")
    Path("methods/nan.py").write_text(text)
    Path("methods/bad.py").write_text(text.replace("class Nan", "class Bad").replace("net(", "net.nothing("))
    answer = ltbench("run", *FAST, "--methods", "nan,ce,bad")
    assert answer.status == 1
    assert "FAILED: nan (digits / 20): loss became nan in stage 'train', epoch 1 of 2, step 1" in answer.out
    assert "FAILED: bad (digits / 20): AttributeError" in answer.out
    assert {r["method"]: r["status"] for r in records().values()} == {"nan": "failed", "bad": "failed", "ce": "done"}
    status = ltbench("status")
    assert "loss became nan" in status.out
    failed = next(record for record in records().values() if record["method"] == "nan")
    assert "failed: loss became nan" in ltbench("show", failed["id"]).out


# its answers


@pytest.fixture
def some_results(ltbench: Cli) -> None:
    assert ltbench("run", *FAST, "--methods", "ce,class_balanced_sampling", "--seeds", "2").status == 0


def test_show_repeats_a_cell_with_the_command_it_prints(ltbench: Cli, some_results: None) -> None:
    record = next(r for r in records().values() if r["seed"] == 1)
    shown = " ".join(ltbench("show", record["id"][:10]).out.split())
    assert record["command"] in shown
    words = record["command"].split()
    assert words[0] == "ltbench"
    assert ltbench(*words[1:], "--results", "again").status == 0
    (again,) = records("again").values()
    assert numbers(again) == numbers(record)
    assert json.loads(ltbench("show", record["id"], "--json").out) == record


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "latex"])
def test_leaderboard_formats(ltbench: Cli, some_results: None, form: str) -> None:
    out = ltbench("leaderboard", "--format", form).out
    assert "class" in out
    if form == "csv":
        assert len(pd.read_csv(pd.io.common.StringIO(out))) == 2
    if form == "json":
        row = json.loads(out)[0]
        assert row["best"] is True
        assert row["seeds"] == 2
    if form == "latex":
        assert r"class\_balanced\_sampling" in out


@pytest.mark.parametrize("width", [60, 80, 100, 150])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(ltbench: Cli, some_results: None, width: int) -> None:
    board = package.leaderboard(package.load_results())
    lines = [line for line in render(board, "table", "last", width).splitlines() if "class_balanced_sampling" in line]
    assert len(lines) == 1
    assert "…" not in lines[0]
    assert "★" in lines[0] + render(board, "table", "last", width)
    assert len(re.sub(r"\x1b\[[0-9;]*m", "", lines[0])) <= width


def test_the_leaderboard_is_the_mean_over_seeds(ltbench: Cli, some_results: None) -> None:
    for row in json.loads(ltbench("leaderboard", "--json").out):
        of_seeds = [r["protocols"]["last"] for r in records().values() if r["method"] == row["method"]]
        for metric in ("balanced_accuracy", "few", "macro_f1", "ece", "nll"):
            assert row[metric] == pytest.approx(np.mean([values[metric] for values in of_seeds]))


def test_subset_seeds_are_tables_of_their_own_with_their_spread_below(ltbench: Cli) -> None:
    answer = ltbench("run", *FAST, "--methods", "ce,focal", "--seeds", "2", "--subset-seeds", "0,5")
    assert answer.status == 0
    assert "8 cells" in answer.err
    assert {(r["subset_seed"], r["seed"]) for r in records().values()} == {(0, 0), (0, 1), (5, 0), (5, 1)}
    lines = answer.out.splitlines()
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2]") == 1
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2] · subset seed 5") == 1
    assert lines.count("digits · imbalance 20 · recipe digits[epochs=2] · spread over subset seeds") == 1
    assert all(row["seeds"] == 2 for row in json.loads(ltbench("leaderboard", "--json").out))
    record = next(r for r in records().values() if (r["subset_seed"], r["seed"]) == (5, 1))
    assert ltbench(*shlex.split(record["command"])[1:], "--results", "again").status == 0
    (again,) = records("again").values()
    assert numbers(again) == numbers(record)
    same = ltbench("run", *FAST, "--methods", "ce,focal", "--seeds", "2", "--set", "subset_seed=5", "--dry-run")
    assert "4 done, 0 to do" in same.err


def test_average_ranks_stand_below_several_tables(ltbench: Cli) -> None:
    words = ("--methods", "ce,class_balanced_sampling", "--imbalance", "100,20")
    out = ltbench("run", *FAST, *words).out
    board = pd.DataFrame(json.loads(ltbench("leaderboard", "--json").out))
    ranks = board.groupby("method")["rank"].mean()
    (line,) = (line for line in out.splitlines() if line.startswith("Average rank over 2 tables"))
    assert "(recipe digits[epochs=2]): " in line
    assert {f"{method} {rank:.1f}" for method, rank in ranks.items()} == set(
        line.partition("): ")[2].partition(". Friedman")[0].split(", ")
    )
    assert "ranks less than 1.4 apart" in out  # 1.96 sqrt(2 x 3 / (6 x 2))
    assert "Average rank" not in ltbench("leaderboard", "--protocol", "best-on-test").out


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_accuracy_under_shifted_test_priors(ltbench: Cli, some_results: None, form: str) -> None:
    out = ltbench("leaderboard", "--shifted", "--format", form).out
    assert len([line for line in out.splitlines() if re.search(r"class\\?_balanced", line)]) == (
        1 if form[0] in "tml" else 10
    )
    if form == "table":
        (line,) = (line for line in out.splitlines() if "class_balanced_sampling" in line)
        values = [float(x) for x in re.findall(r"\d+\.\d", line)]
        assert len(values) == 11
        board = json.loads(ltbench("leaderboard", "--json").out)
        assert values[5] == pytest.approx(board[0]["balanced_accuracy"], abs=0.06)
    if form == "json":
        assert {row["direction"] for row in json.loads(out)} == {"forward", "backward"}


def test_the_difference_to_ce_is_that_of_paired_seeds(ltbench: Cli, some_results: None) -> None:
    by_seed = {(r["method"], r["seed"]): r["protocols"]["last"]["balanced_accuracy"] for r in records().values()}
    gains = [by_seed["class_balanced_sampling", seed] - by_seed["ce", seed] for seed in (0, 1)]
    row = json.loads(ltbench("leaderboard", "--json").out)[0]
    assert row["difference_to_ce"] == pytest.approx(np.mean(gains))
    assert row["p_to_ce"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=1e-4)
    assert f"{np.mean(gains):+.1f} ± " in ltbench("leaderboard").out


def test_tables_stand_in_one_order_whatever_was_trained_first(ltbench: Cli) -> None:
    for imbalance in ("natural", "20", "100", "step:20"):
        ltbench("run", *FAST, "--methods", "ce", "--imbalance", imbalance)
    rows = json.loads(ltbench("leaderboard", "--format", "json").out)
    assert [row["imbalance"] for row in rows] == ["100", "20", "step:20", "natural"]


def test_protocols(ltbench: Cli) -> None:
    options = ("--imbalance", "10", "--seeds", "1", "--methods", "ce", "--set", "holdout=10")
    ltbench("run", *options, "--set", "recipe.epochs=6", "--set", "recipe.evaluate_every=1")
    (record,) = records().values()
    assert [e["epoch"] for e in record["evaluations"]] == [1, 2, 3, 4, 5, 6]
    by_test = [e["test"]["balanced_accuracy"] for e in record["evaluations"]]
    by_val = [e["val"]["balanced_accuracy"] for e in record["evaluations"]]
    found = {
        p: json.loads(ltbench("leaderboard", "--json", "--protocol", p).out)[0] for p in ("last", "val", "best-on-test")
    }
    assert found["last"]["balanced_accuracy"] == pytest.approx(by_test[-1])
    assert found["val"]["balanced_accuracy"] == pytest.approx(by_test[int(np.argmax(by_val))])
    assert found["best-on-test"]["balanced_accuracy"] == pytest.approx(max(by_test))
    assert "OPTIMISTIC" in ltbench("leaderboard", "--protocol", "best-on-test").out


def test_without_validation_the_val_protocol_says_so(ltbench: Cli, some_results: None) -> None:
    assert "no validation split" in ltbench("leaderboard", "--protocol", "val").out


def test_dry_run_and_shards_write_nothing_and_cover_everything(ltbench: Cli) -> None:
    whole = json.loads(ltbench("run", "--dry-run", "--json").out)
    parts = [json.loads(ltbench("run", "--dry-run", "--json", "--shard", f"{i}/4").out) for i in (1, 2, 3, 4)]
    assert len(whole) == 90
    assert sorted(cell["id"] for part in parts for cell in part) == sorted(cell["id"] for cell in whole)
    assert not Path("results").exists()


def test_status_tells_what_is_to_do(ltbench: Cli) -> None:
    ltbench("run", *FAST, "--methods", "ce")
    plan = next(Path("results/plans").iterdir())
    content = json.loads(plan.read_text())
    content["cells"].append(content["cells"][0] | {"id": "0" * 16, "seed": 7})
    plan.write_text(json.dumps(content))
    lock = Store("results").try_lock("0" * 16)
    assert sorted(c["state"] for c in json.loads(ltbench("status", "--json").out)) == ["done", "running"]
    assert lock is not None
    lock.release()
    assert sorted(c["state"] for c in json.loads(ltbench("status", "--json").out)) == ["done", "to do"]


def test_ls_names_everything(ltbench: Cli) -> None:
    assert {"ce", "crt"} <= set(json.loads(ltbench("ls", "methods", "--json").out))
    assert {"quickstart", "cifar100-lt"} <= set(json.loads(ltbench("ls", "suites", "--json").out))
    assert {"digits", "imagefolder:PATH"} <= set(json.loads(ltbench("ls", "datasets", "--json").out))
    assert {"resnet32_cifar", "resnet50"} <= set(json.loads(ltbench("ls", "backbones", "--json").out))


def test_data_check(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    facts = json.loads(ltbench("data", "check", "digits", "--json").out)
    assert (facts["classes"], facts["train"], facts["test"]) == (10, 1200, 597)
    folder = picture_folder({"cat": 10, "dog": 6})
    answer = ltbench("data", "check", f"imagefolder:{folder}")
    assert answer.status == 0
    assert "5 to 8" in answer.out
    (folder / "cat" / "000.png").write_bytes(b"")
    answer = ltbench("data", "check", f"imagefolder:{folder}")
    assert answer.status == 2
    assert "000.png cannot be read" in answer.err


def test_data_prepare_decodes_a_folder(ltbench: Cli, picture_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = picture_folder({"cat": 10, "dog": 6})
    answer = ltbench("data", "prepare", f"imagefolder:{folder}", "--image-size", "4")
    assert (answer.status, answer.err) == (0, "")
    assert "16 images" in answer.out
    assert str(tmp_path / "data-home") in answer.out
    assert len(list((tmp_path / "data-home" / "folders").glob("*.images"))) == 1


def test_a_folder_runs_with_resized_crops_from_its_file(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder({"cat": 12, "dog": 10}, size=(20, 16))
    crops = ("--set", "recipe.image_size=16", "--set", "recipe.resized_crop=12", "--set", "recipe.crop_padding=0")
    where = ("--datasets", f"imagefolder:{folder}", "--imbalance", "natural", "--seeds", "1", "--methods", "ce")
    found = {}
    for place in ("file", "auto"):
        options = ("--set", "recipe.epochs=1", "--results", place, "--images-in", place, "--threads", "1")
        answer = ltbench("run", *where, *crops, *options)
        assert answer.status == 0, answer.err
        (found[place],) = Store(place).latest().values()
    assert [found[place]["images_in"] for place in found] == ["file", "device"]
    assert numbers(found["file"]) == numbers(found["auto"])
    assert "images in" in ltbench("show", found["file"]["id"], "--results", "file").out


def test_any_image_folder_runs(ltbench: Cli, picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder({"cat": 30, "dog": 20, "emu": 10}, mode="L", size=(12, 9))
    common = ("--seeds", "1", "--methods", "ce", "--set", "recipe.epochs=1")
    answer = ltbench("run", "--datasets", f"imagefolder:{folder}", "--imbalance", "natural", *common)
    assert answer.status == 0
    (record,) = records().values()
    assert record["class_counts"] == [24, 16, 8]
    answer = ltbench(
        "run", "--datasets", "cifar10", "--data", f"cifar10=imagefolder:{folder}", "--imbalance", "2", *common
    )
    assert answer.status == 0
    assert "cifar10 (imagefolder)" in answer.out


def test_from_python(ltbench: Cli) -> None:
    cells = package.run(
        methods=["ce", "focal"],
        imbalance=[20],
        seeds=2,
        changes={"recipe.epochs": 1, "focal.gamma": 2.0},
        results="out",
    )
    assert len(cells) == 4
    assert set(cells.status) == {"done"}
    board = package.leaderboard(package.load_results("out"))
    assert set(board.method) == {"ce", "focal(gamma=2.0)"}
    assert board.balanced_accuracy.is_monotonic_decreasing


def test_two_plans_of_one_cell_agree_on_its_identity(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "4,", "--methods", "ce").out)
    among_others = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "5").out)
    assert {cell["id"] for cell in plain} < {cell["id"] for cell in among_others}
    monkeypatch.setattr("ltbench.plan.cell.SCIENCE", 99)
    assert isinstance(Cell.__dataclass_fields__["seed"].default, int)
    newer = json.loads(ltbench("run", "--dry-run", "--json", "--seeds", "4,", "--methods", "ce").out)
    assert {cell["id"] for cell in plain}.isdisjoint(cell["id"] for cell in newer)


# wrong input: one line, exit status 2, nothing written

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
    "no such device": (["--device", "cuda:99"], "device 'cuda:99' is not there"),
    "shard": (["--shard", "9/8"], "--shard 9/8 is not understood"),
    "data place": (["--data", "cifar11=x"], "unknown data set 'cifar11'; did you mean 'cifar10'"),
    "methods folder": (["--methods-dir", "nowhere"], "methods folder nowhere does not exist"),
    "holdout": (["--set", "holdout=120"], "holdout of 120 images a class"),
    "results": (["--results", "/proc/results"], "results folder /proc/results cannot be written"),
    "no file": (["--images-in", "file"], "digits lies in no packed file, as image folders do; use --images-in host"),
    "no imagenet": (["--suite", "imagenet-lt"], "--data imagenet-lt=imagefolder:PATH"),
    "no folder": (["--datasets", "imagefolder:nowhere"], "image folder nowhere does not exist"),
    "variant": (["--methods", "focal(gamma)"], "method entry 'focal(gamma)' is not understood; write NAME"),
    "variant's value": (["--methods", "focal(gama=2)"], "unknown hyper-parameter of focal 'gama'; did you mean"),
    "backbone without branches": (
        ["--methods", "*", "--set", "recipe.backbone=vit_tiny_patch16_224", "--set", "recipe.image_size=32"],
        "backbone 'vit_tiny_patch16_224' cannot be split into branches",
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
        "(known: about, datasets, holdout, hyperparameters, imbalance, methods, name, profile, recipe, seeds, shots, "
        "subset_seeds)\n"
    )


def test_a_method_defined_twice_is_refused_with_both_files(ltbench: Cli) -> None:
    Path("methods").mkdir()
    Path("methods/ce.py").write_text(MINE)
    answer = ltbench("run", *FAST)
    assert answer.status == 2
    assert "method 'ce' is defined twice" in answer.err
    assert answer.err.count("ce.py") == 2
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("leaderboard",), "results folder results does not exist"),
        (("run", "--subset-seeds", "x"), "--subset-seeds x is not understood"),
        (("run", "--subset-seeds", "0,1", "--set", "subset_seed=1"), "both given"),
        (("status", "--results", "other"), "results folder other does not exist"),
        (("show", "abc"), "results folder results does not exist"),
        (("data", "check", "cifar"), "unknown data set 'cifar'; did you mean 'cifar10'"),
        (("leaderboard", "--suite", "quick", "--results", "."), "unknown suite 'quick'"),
        (("show", "abc", "--results", "."), "no cell begins with 'abc'"),
    ],
)
def test_wrong_questions(ltbench: Cli, words: tuple[str, ...], message: str) -> None:
    answer = ltbench(*words)
    assert answer.status == 2
    assert message in answer.err


def test_an_interruption_keeps_what_is_finished(ltbench: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import ltbench.runner.one_cell as execute

    whole = execute.run_cell
    calls: list[int] = []

    def stopping(*args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "run_cell", stopping)
    answer = ltbench("run", *FAST, "--methods", "ce,focal")
    assert answer.status == 130
    assert "the same command goes on" in answer.err
    assert [r["method"] for r in records().values()] == ["ce"]
    monkeypatch.undo()


@pytest.mark.parametrize("words", [["--help"], ["status"], ["leaderboard"], ["ls", "suites"]])
def test_what_needs_no_torch_does_not_import_it(ltbench: Cli, some_results: None, words: list[str]) -> None:
    code = (
        "import sys; from ltbench.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'mlflow', 'optuna', 'ray', 'matplotlib', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
