from pathlib import Path

import pytest

from ltbench.engine.stage import learning_rate
from ltbench.errors import InputError
from ltbench.method.contract import Stage
from ltbench.plan.expand import make_plan
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.plan.repeat import request_of
from ltbench.plan.request import Request


def test_the_schedule_of_cao19() -> None:
    """The rule as that paper's code writes it, with epochs from 1."""

    def written_out(epoch: int) -> float:
        if epoch <= 5:
            return 0.1 * epoch / 5
        if epoch > 180:
            return 0.1 * 0.0001
        return 0.1 * 0.01 if epoch > 160 else 0.1

    found = [learning_rate(Recipe(), Stage(), e, 200) for e in range(200)]
    assert found == pytest.approx([written_out(e + 1) for e in range(200)])


@pytest.mark.parametrize("epochs", [1, 3, 5, 7, 13, 30, 400])
def test_other_lengths_keep_the_proportions(epochs: int) -> None:
    recipe = Recipe().changed({"epochs": epochs})
    assert recipe.milestones == pytest.approx((0.8 * epochs, 0.9 * epochs))
    assert recipe.warmup_epochs == pytest.approx(epochs / 40)
    rates = [learning_rate(recipe, Stage(), e, epochs) for e in range(epochs)]
    decayed = [e for e in range(epochs) if rates[e] < 0.02 and e >= recipe.warmup_epochs]
    deferred = [e for e in range(epochs) if e / epochs >= 0.8]
    assert decayed == deferred  # a deferred switch comes with the first decay, not before


def test_milestones_that_are_given_are_kept() -> None:
    recipe = Recipe().changed({"epochs": 10, "milestones": [4, 5]})
    assert recipe.milestones == (4, 5)
    assert recipe.warmup_epochs == pytest.approx(0.25)


def test_a_stage_may_have_its_own_length_rate_and_schedule() -> None:
    stage = Stage(epochs=0.15, lr=0.2, schedule="cosine")
    recipe = Recipe().changed({"warmup_epochs": 0})
    assert recipe.stage_epochs(stage.epochs) == 30
    rates = [learning_rate(recipe, stage, e, 30) for e in range(30)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[15] == pytest.approx(0.1)
    assert recipe.stage_epochs(0.001) == 1


def test_the_label_says_what_differs() -> None:
    assert Recipe().label == "ldam"
    assert Recipe().changed({"epochs": 5}).label == "ldam[epochs=5]"
    assert Recipe().changed({"epochs": 5, "lr": 0.2}).label == "ldam[epochs=5,lr=0.2]"
    assert RECIPES["digits"].changed({"flip": True}).label == "digits[flip=True]"
    assert Recipe().changed({"augment": "cutout", "cutout_side": 8}).label == "ldam[augment=cutout,cutout_side=8]"
    assert Recipe().changed({"epochs": 5}).identity() != Recipe().identity()


def test_every_setting_but_the_name_is_in_the_identity() -> None:
    assert set(Recipe().identity()) == set(Recipe.model_fields) - {"base"}
    assert Recipe().changed({"jitter": 0.4}).identity() == Recipe().identity() | {"jitter": 0.4}
    assert RECIPES["imagenet-lt"].identity()["resized_crop"] == 224


def test_how_often_a_recipe_evaluates_is_no_part_of_the_identity_of_its_training() -> None:
    often = Recipe().changed({"evaluate_every": 1})
    assert often.identity() != Recipe().identity()
    assert often.identity_of_training() == Recipe().identity_of_training()
    assert set(Recipe().identity()) - set(Recipe().identity_of_training()) == {"evaluate_every", "test_curve"}


def pretrained(tmp_path: Path, **changes: object) -> Recipe:
    """A recipe with weights that nothing reads."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    values = {"backbone": "resnet18", "pretrained": str(path), "crop_padding": 0}
    return Recipe().changed(values | changes)


def test_weights_are_known_by_their_hash_not_by_their_path(tmp_path: Path) -> None:
    one, moved = pretrained(tmp_path), tmp_path / "moved.safetensors"
    moved.write_bytes(b"weights")
    assert one.identity() == one.changed({"pretrained": str(moved)}).identity()
    moved.write_bytes(b"other weights")
    assert one.identity() != one.changed({"pretrained": str(moved)}).identity()
    assert one.label == one.changed({"pretrained": str(moved), "backbone": "resnet34"}).label
    assert one.label != Recipe().changed({"crop_padding": 0}).label


@pytest.mark.parametrize(
    ("native", "changes", "image_size", "crop"),
    [
        (8, {}, 67, 64),
        (32, {}, 67, 64),
        (64, {}, 135, 128),
        (90, {}, 202, 192),
        (500, {}, 236, 224),
        (32, {"image_size": 48}, 48, 48),
        (32, {"resized_crop": 48}, 51, 48),
        (32, {"resized_crop": 48, "image_size": 50}, 50, 48),
        (32, {"crop_padding": 4}, 64, None),
    ],
)
def test_pretrained_weights_choose_the_sizes_by_the_images(
    tmp_path: Path, native: int, changes: dict[str, int], image_size: int, crop: int | None
) -> None:
    found = pretrained(tmp_path, **changes).fitted(lambda: native)
    assert (found.image_size, found.resized_crop) == (image_size, crop)
    assert found.interpolation == "bicubic"


def test_without_weights_no_size_is_chosen() -> None:
    assert Recipe().fitted(lambda: 500) == Recipe()


def test_the_network_sees_the_crop() -> None:
    assert Recipe().input_size(32, 48) == (32, 48)
    assert RECIPES["imagenet-lt"].input_size(256, 256) == (224, 224)
    with pytest.raises(InputError, match=r"recipe\.resized_crop=224 is larger than the images of 96x64 pixels"):
        RECIPES["imagenet-lt"].input_size(64, 96)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resized_crop": 32}, r"recipe\.resized_crop=32: .*set crop_padding=0"),
        ({"jitter": 2}, r"recipe\.jitter=2"),
        ({"augment": "autoaugement"}, r"recipe\.augment=autoaugement.*'autoaugment'.*'autoaugment\+cutout'"),
        ({"cutout_side": 8}, r"recipe\.cutout_side=8: .*set augment=cutout"),
        ({"augment": "cutout", "randaugment_magnitude": 5}, r"recipe\.randaugment_magnitude=5: .*augment=randaugment"),
        ({"augment": "randaugment", "randaugment_magnitude": 31}, r"recipe\.randaugment_magnitude=31"),
        ({"epoch": 5}, r"unknown recipe setting 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0}, r"recipe\.epochs=0"),
        ({"lr": -1}, r"recipe\.lr=-1"),
        ({"lr": float("nan")}, r"recipe\.lr=nan"),
        ({"schedule": "linear"}, r"recipe\.schedule=linear.*'step' or 'cosine'"),
        ({"batch_size": "many"}, r"recipe\.batch_size=many"),
        ({"base": "digits"}, "unknown recipe setting 'base'"),
    ],
)
def test_what_is_not_allowed(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe().changed(change)


def test_unknown_recipes_are_named() -> None:
    with pytest.raises(InputError, match="unknown recipe 'ldma'; did you mean 'ldam'"):
        Recipe.of("ldma")


@pytest.mark.parametrize(
    ("native", "precision", "label"), [(True, "bf16", "ldam[precision=bf16]"), (False, "fp32", "ldam")]
)
def test_the_precision_auto_is_chosen_for_the_machine(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str, label: str
) -> None:
    monkeypatch.setattr("ltbench.plan.recipe.computes_in_bf16", lambda: native)
    chosen = RECIPES["ldam"].chosen()
    assert (chosen.precision, chosen.label) == (precision, label)
    assert RECIPES["ldam"].changed({"precision": "fp32"}).chosen().precision == "fp32"
    assert RECIPES["digits"].chosen() == RECIPES["digits"]


def test_a_cell_names_the_precision_that_was_chosen_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(recipe="ldam", methods=("ce",), seeds=(0,), changes={"recipe.epochs": 2})
    monkeypatch.setattr("ltbench.plan.recipe.computes_in_bf16", lambda: True)
    here = make_plan(request).cells[0].cell
    monkeypatch.setattr("ltbench.plan.recipe.computes_in_bf16", lambda: False)
    again, _ = request_of(request.command(here))
    (there,) = make_plan(again).cells
    assert there.cell.id == here.id
    assert there.cell.recipe.precision == "bf16"
