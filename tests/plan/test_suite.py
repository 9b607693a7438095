from pathlib import Path

import pytest

from ltbench.data import Imbalance
from ltbench.errors import InputError
from ltbench.plan.suite import load_suite, suite_names


@pytest.mark.parametrize("name", suite_names())
def test_suites_that_ship(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.about
    assert suite.seeds in ((0, 1, 2), (0, 1, 2, 3, 4))


def test_the_suites_of_the_literature() -> None:
    for name in ("cifar10-lt", "cifar100-lt", "fashion-mnist-lt"):
        suite = load_suite(name)
        assert suite.imbalance == (Imbalance("exp", 100), Imbalance("exp", 50), Imbalance("exp", 10))
        assert suite.recipe.label == "ldam"


def test_the_suites_of_the_large_data_sets() -> None:
    for name in ("imagenet-lt", "places-lt", "inaturalist2018"):
        suite = load_suite(name)
        assert suite.datasets == (suite.recipe.label,) == (name,)
        assert suite.imbalance == (Imbalance("natural"),)
        assert (suite.recipe.image_size, suite.recipe.resized_crop) == (256, 224)
    tiny = load_suite("tiny-imagenet-lt")
    assert tiny.datasets == ("tiny-imagenet",)
    assert tiny.imbalance == (Imbalance("exp", 100), Imbalance("exp", 10))
    places = load_suite("places-lt").recipe
    assert (places.backbone, places.pretrained, tiny.recipe.backbone) == ("resnet152.tv_in1k", True, "resnet18")


def write(text: str) -> str:
    Path("mine.toml").write_text(text)
    return "mine.toml"


def test_a_suite_of_ones_own() -> None:
    suite = load_suite(
        write("""
datasets = ["digits"]
profile = "step"
imbalance = [10, "exp:20", "natural"]
seeds = [3, 5]
[recipe]
base = "digits"
epochs = 10
[hyperparameters.focal]
gamma = 2.0
""")
    )
    assert suite.name == "mine"
    assert suite.imbalance == (Imbalance("step", 10), Imbalance("exp", 20), Imbalance("natural"))
    assert suite.seeds == (3, 5)
    assert suite.recipe.label == "digits[epochs=10]"
    assert suite.recipe.milestones == (8, 9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('dataset = ["digits"]', r"line 2: unknown key 'dataset'; did you mean 'datasets'"),
        ("seeds = -1", r"line 2: seeds: "),
        ("seeds = [1, 1]", r"line 2: seeds: .*different"),
        ("imbalance = [0.5]", r"line 2: imbalance 0\.5 is below 1"),
        ('recipe = "ldma"', r"line 2: unknown recipe 'ldma'; did you mean 'ldam'"),
        ("shots = [20, 100]", r"line 2: unknown key 'shots'"),
        ("[recipe]\nbatchsize = 4", r"line 3: unknown recipe setting 'batchsize'; did you mean 'batch_size'"),
        ("[recipe]\nlr = -4", r"line 3: recipe\.lr=-4"),
        ("subset_seeds = [0, 0]", r"line 2: subset_seeds: .*different"),
        ("subset_seed = 1\nsubset_seeds = 2", r"line 2: .*both given"),
        ("subset_seed = ", r"mine\.toml: .*line 2"),
    ],
)
def test_a_wrong_suite_is_refused_with_key_and_line(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_suite(write(f'datasets = ["digits"]\n{line}\n'))


def test_unknown_suites_are_named() -> None:
    with pytest.raises(InputError, match="unknown suite 'cifar10lt'; did you mean 'cifar10-lt'"):
        load_suite("cifar10lt")
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        load_suite("nowhere.toml")


def test_a_suite_names_one_subset_seed_or_several() -> None:
    assert load_suite(write('datasets = ["digits"]\n')).subset_seeds == (0,)
    assert load_suite(write('datasets = ["digits"]\nsubset_seed = 4\n')).subset_seeds == (4,)
    assert load_suite(write('datasets = ["digits"]\nsubset_seeds = 3\n')).subset_seeds == (0, 1, 2)
    assert load_suite(write('datasets = ["digits"]\nsubset_seeds = [0, 7]\n')).subset_seeds == (0, 7)
