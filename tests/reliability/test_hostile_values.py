"""Values that no one can train with: refused by their bounds, before memory is used, in plain words."""

import pytest

import ltbench
from ltbench.errors import InputError
from ltbench.results.store import Store
from tests.made import made_record
from tests.reliability.attack import Attack, fault

DRY = ("run", "--dry-run", "--methods", "ce")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("recipe.image_size=1000000", "recipe.image_size=1000000: give at most 4,096"),
        ("recipe.epochs=1" + 30 * "0", "the integer 10000000000000000000… is too large"),
        ("recipe.epochs=true", "recipe.epochs=true: give an integer"),
        ("recipe.epochs='2'", "recipe.epochs='2': give an integer without quotes"),
        ("recipe.lr='0.1'", "recipe.lr='0.1': give a number without quotes"),
        ("recipe.lr=1e308", "recipe.lr=1e+308: give at most 1,000,000"),
        ("recipe.lr=0", "recipe.lr=0: give a number above 0"),
        ("recipe.lr=nan", "recipe.lr=nan: give a finite number"),
        ("recipe.batch_size=1", "recipe.batch_size=1: give at least 2"),
        ("recipe.momentum=1", "recipe.momentum=1: give a number below 1"),
        ("recipe.flip=7", "recipe.flip=7: give true or false"),
        ("recipe.milestones=3", "recipe.milestones=3: give a list"),
        ("recipe.milestones=[-1]", "give epochs from 0 on"),
        ("recipe.optimizer=adam", "recipe.optimizer=adam: give one of 'sgd', 'adamw'"),
        ("recipe.resized_crop=8", "recipe.resized_crop=8: it takes the place of the padded crop; set crop_padding=0"),
        ("holdout=-1", "holdout: give at least 0"),
        ("holdout=true", "holdout=True: give an integer"),
        ("subset_seed=4294967296", "each at most 4294967295"),
        ("focal.gamma=1" + 400 * "0", "the integer 10000000000000000000… is too large"),
        ("focal.gamma=1" + 5000 * "0", "focal.gamma="),
        ("focal.gamma=" + 3000 * "[", "focal.gamma="),
        ("recipe.epochs=2\nholdout=3", "has a line break or another control character"),
    ],
)
@fault("Input", "a value of --set that no one can train with")
def test_a_setting_out_of_bounds(attack: Attack, setting: str, says: str) -> None:
    attack.shown(attack(*DRY, "--set", setting), 2, says)


@fault("Input", "images of the digits resized to more than the memory of the machine")
def test_images_that_need_more_memory_than_there_is(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda _: 10_000)  # 100 MB
    answer = attack(*DRY, "--set", "recipe.image_size=200")
    attack.shown(answer, 2, "more than half of the memory of this machine (0.1 GB); lower recipe.image_size")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seeds", "1000000000"), "1000000000 seeds are too many; at most 10000"),
        (("--seeds", "9" * 4000), "seeds are too many"),
        (("--seeds", "9" * 5000), "is not understood"),
        (("--seeds", "4294967296,"), "each at most 4294967295"),
        (("--seeds", "10000", "--subset-seeds", "10000"), "cells are too many"),
        (("--imbalance", "1" + 400 * "0"), "give factors of at most 1,000,000,000"),
        (("--imbalance", "0.5"), "is below 1"),
        (("--shard", "1/" + 5000 * "9"), "is not understood"),
        (("--runs-per-device", "²"), "is not understood"),
    ],
)
@fault("Input", "an option with a number that is much too large, or none")
def test_an_option_out_of_bounds(attack: Attack, words: tuple[str, ...], says: str) -> None:
    attack.shown(attack(*DRY, *words), 2, says)


@pytest.mark.parametrize("shots", ["100,20", "-1,5", "0,5", "²,5", "1" + 5000 * "0" + ",5"])
@fault("Input", "groups of classes that cannot be")
def test_shots_that_cannot_be(attack: Attack, shots: str) -> None:
    made_record(Store("results"), "ce")
    attack.shown(attack("leaderboard", "--shots", shots), 2, "allowed: auto, terciles, or two numbers")


@pytest.mark.parametrize("shots", [[100, 20], [-1, 5], (1, 2, 3), "many", (True, "5"), 7])
def test_shots_that_cannot_be_are_refused_from_python_too(shots: object) -> None:
    made_record(Store("results"), "ce")
    with pytest.raises(InputError, match="the smaller first"):
        ltbench.load_results(shots=shots)
