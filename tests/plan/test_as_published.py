"""Published settings as presets and as recipes: what ``--as-published`` and ``METHOD(preset=...)`` train."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ltbench.errors import InputError
from ltbench.method.published import Published
from ltbench.plan.as_published import obstacles, preset, recipe_of, reproducible, table_name, values_of
from ltbench.plan.expand import Library, Plan, make_plan
from ltbench.plan.recipe import ABOUT, FAMILIES, RECIPES, Recipe
from ltbench.plan.request import Request
from tests.methods.given import REGISTRY

MINE = """from ltbench import Method, Published, Range


class Mine(Method):
    strength = Range(1.0, 0.0, 2.0)
    published = (
        Published(dataset="digits", imbalance="20", accuracy=50.0, source="A", family="F1", grade="A",
                  settings={"strength": 0.1, "network": "wider"}),
        Published(dataset="digits", imbalance="20", accuracy=60.0, source="B", family="F2", grade="A",
                  backbone="resnet8_cifar", settings={"strength": 0.5, "recipe.lr": 0.05}),
        Published(dataset="digits", imbalance="100", accuracy=40.0, source="C", family="F6", grade="A"),
    )
"""


def figure(**changes: object) -> Published:
    known = {"dataset": "cifar10", "imbalance": "100", "accuracy": 70.0, "source": "x", "family": "F1", "grade": "A"}
    return Published(**known | changes)  # type: ignore[arg-type]


@pytest.fixture
def library() -> Library:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE)
    return Library()


def planned(library: Library, changes: Mapping[str, object] = {}, **request: object) -> Plan:
    known = {"methods": ("mine",), "imbalance": ("20",), "seeds": (0,), "as_published": True}
    return make_plan(Request(changes=dict(changes), **known | request), library)  # type: ignore[arg-type]


# recipes


def test_every_named_recipe_says_what_it_is() -> None:
    assert ABOUT.keys() == RECIPES.keys()
    assert {name: recipe.label for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}


def test_the_recipes_of_the_families() -> None:
    assert FAMILIES["F1"] == Recipe(precision="auto")
    assert (FAMILIES["F2"].weight_decay, FAMILIES["F2"].nesterov) == (5e-4, True)
    assert (FAMILIES["F3"].epochs, FAMILIES["F4"].epochs) == (200, 400)
    assert FAMILIES["F3"].augment == FAMILIES["F4"].augment == "autoaugment+cutout"
    assert (FAMILIES["F5"].backbone, FAMILIES["F5"].weight_decay) == ("resnet32_cifar_wide", 5e-3)
    assert RECIPES["imagenet-lt-180"].identity() == RECIPES["imagenet-lt"].changed({"epochs": 180}).identity()


def test_the_recipe_of_a_published_accuracy_is_its_familys_with_its_own_values() -> None:
    found = recipe_of(figure(family="F2", backbone="resnet20_cifar", settings={"recipe.lr": 0.2, "tau": 1.0}))
    assert found.label == "F2[backbone=resnet20_cifar,lr=0.2]"
    assert recipe_of(figure(epoch="last")) == Recipe()
    of_best = recipe_of(figure(epoch="best-on-test"))  # the source reports the best of all epochs
    assert of_best == Recipe().changed({"test_curve": True, "evaluate_every": 1})
    with pytest.raises(InputError, match="unknown recipe family 'F6'"):
        recipe_of(figure(family="F6"))


# what can be reproduced


def test_settings_in_words_and_families_without_a_recipe_are_obstacles() -> None:
    assert obstacles(figure(settings={"tau": 1.0, "recipe.lr": 0.2}), {"tau"}) == []
    assert obstacles(figure(settings={"tau": 1.0, "network": "wider"}), {"beta"}) == ["tau", "network"]
    assert obstacles(figure(family="other"), ()) == ["recipe family other"]
    assert values_of(figure(settings={"tau": 1.0, "recipe.lr": 0.2}), {"tau", "beta"}) == {"tau": 1.0}


def test_the_first_accuracy_that_can_be_reproduced_is_chosen() -> None:
    figures = [figure(settings={"network": "wider"}), figure(accuracy=71.0), figure(accuracy=72.0)]
    assert reproducible(figures, (), "cifar10", "100").accuracy == 71.0
    with pytest.raises(InputError, match="^no published accuracy$"):
        reproducible(figures, (), "cifar10", "10")
    with pytest.raises(InputError, match="^the settings of x differ in network$"):
        reproducible(figures[:1], (), "cifar10", "100")


def test_a_preset_has_the_hyperparameters_of_the_place() -> None:
    method = REGISTRY["mislas"].method
    found = preset("mislas", method.published, method.space(), "cifar10-100")
    of = next(f for f in method.published if (f.dataset, f.imbalance) == ("cifar10", "100"))
    assert found == {k: v for k, v in of.settings.items() if not k.startswith("recipe.")}
    assert found["head_lr"] == 0.5
    with pytest.raises(InputError, match=r"unknown preset of mislas 'cifar10-20'; did you mean 'cifar10-50'"):
        preset("mislas", method.published, method.space(), "cifar10-20")
    with pytest.raises(InputError, match="unknown preset of ncm 'cifar10-100'.*it has no published accuracy"):
        preset("ncm", (), {}, "cifar10-100")


# plans


def test_each_method_gets_the_settings_of_its_published_accuracy(library: Library) -> None:
    (one,) = planned(library).cells
    assert one.cell.chain[-1].hyperparameters == {"strength": 0.5}
    assert one.cell.recipe == recipe_of(figure(family="F2", backbone="resnet8_cifar", settings={"recipe.lr": 0.05}))
    assert one.cell.describe()["recipe"] == "as published"
    assert one.cell.describe()["trained_under"] == "F2[backbone=resnet8_cifar,lr=0.05]"


def test_changes_come_on_top_and_make_another_table(library: Library) -> None:
    (one,) = planned(library, {"recipe.epochs": 2, "mine.strength": 0.7}).cells
    assert one.cell.chain[-1].hyperparameters == {"strength": 0.7}
    assert (one.cell.recipe.epochs, one.cell.recipe.lr) == (2, 0.05)
    assert one.cell.describe()["recipe"] == "as published[epochs=2]" == table_name({"epochs": 2})
    assert table_name({"weight_decay": 2e-4}) != table_name({})  # although the default of ldam


def test_methods_that_cannot_be_trained_as_published_are_named_with_the_reason(library: Library) -> None:
    plan = planned(library, methods=("mine", "ce"), imbalance=("20", "100"))
    assert {(p.cell.method, str(p.cell.imbalance)) for p in plan.cells} == {("mine", "20")}
    assert set(plan.skipped.values()) == {
        "mine as published on digits / 100: the settings of C differ in recipe family F6",
        "ce as published on digits / 20, digits / 100: no published accuracy",
    }
    with pytest.raises(InputError, match="nothing can be trained as published; ce as published on digits / 20: no pub"):
        planned(library, methods=("ce",))


def test_a_method_on_other_features_is_not_as_published(library: Library) -> None:
    path = Path("methods/mine.py")
    path.write_text(path.read_text().replace("    strength", '    after = "ce"\n    strength'))
    with pytest.raises(InputError, match="mine as published on digits / 20: B continues from ce"):
        planned(library, methods=("mine(after=mixup)",))
    Path("mine.toml").write_text(
        'datasets = ["digits"]\nmethods = ["mine"]\nafter = ["mixup"]\nimbalance = [20]\nas_published = true\n'
    )
    with pytest.raises(InputError, match="a suite with 'after' cannot be trained as published"):
        make_plan(Request(suite="mine.toml"), library)


def test_the_command_of_a_cell_gives_the_same_cell(library: Library) -> None:
    plan = planned(library, {"recipe.epochs": 2})
    (one,) = plan.cells
    command = plan.request.command(one.cell)
    assert "--as-published" in command
    (again,) = planned(library, {"recipe.epochs": 2}, methods=(one.cell.entry,)).cells
    assert again.cell.id == one.cell.id


def test_ordinary_cells_do_not_know_of_published_settings(library: Library) -> None:
    (one,) = planned(library, as_published=False).cells
    assert one.cell.chain[-1].hyperparameters == {"strength": 1.0}
    assert "trained_under" not in one.cell.describe()
    (same,) = planned(library, methods=("mine(preset=digits-20)",), as_published=False).cells
    assert same.cell.entry == "mine(strength=0.1)"  # the first at this place, whatever else differs
    (other,) = planned(library, methods=("mine(preset=digits-20, strength=2)",), as_published=False).cells
    assert other.cell.entry == "mine(strength=2.0)"


def test_a_recipe_by_name_replaces_the_suites(library: Library) -> None:
    (one,) = planned(library, {"recipe.lr": 0.3}, recipe="F2", as_published=False).cells
    assert one.cell.recipe.label == "F2[lr=0.3]"
    with pytest.raises(InputError, match="unknown recipe 'F22'"):
        planned(library, recipe="F22", as_published=False)
    with pytest.raises(InputError, match="--recipe and --as-published are both given"):
        planned(library, recipe="F2")


def test_a_suite_may_ask_for_published_settings(library: Library) -> None:
    text = 'datasets = ["digits"]\nmethods = ["mine"]\nimbalance = [20]\nseeds = 2\nas_published = true\n'
    Path("mine.toml").write_text(text)
    plan = make_plan(Request(suite="mine.toml"), library)
    assert {p.cell.describe()["recipe"] for p in plan.cells} == {"as published"}
    Path("mine.toml").write_text(text + 'recipe = "F2"\n')
    with pytest.raises(InputError, match=r"line 5: recipe and as_published are both given"):
        make_plan(Request(suite="mine.toml"), library)
