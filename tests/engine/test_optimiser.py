"""The optimiser of a stage against timm and against plain PyTorch; averages of the weights."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor

from ltbench import Method, Stage
from ltbench.data import Imbalance, cut, load
from ltbench.engine.optimiser import learning_rate, optimiser_of
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.errors import InputError
from ltbench.models.network import Network, initialised_backbone
from ltbench.plan.recipe import RECIPES, Recipe
from tests.engine.test_engine import CPU, Memory, same

RECIPE = RECIPES["digits"].changed({"epochs": 2, "warmup_epochs": 0})


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.of(cut(load("digits"), Imbalance("exp", 20)), RECIPE, 0, CPU)


def under(task: Task, **changes: Any) -> Task:
    return replace(task, recipe=RECIPE.changed(changes))


def rates(optimiser: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
    """Factor on the learning rate, and weight decay, of each parameter by its address."""
    groups = optimiser.param_groups
    return {id(p): (group["factor"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_groups_are_those_of_timm(name: str) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=5, img_size=32) if name == "test_vit" else timm.create_model(name)
    excluded = getattr(theirs, "no_weight_decay", set)()
    expected = {
        parameter: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(theirs, 0.05, excluded, layer_decay=0.6)
        for parameter in group["params"]
    }
    names = {key: expected[parameter] for key, parameter in theirs.named_parameters()}
    backbone, width = initialised_backbone(name, 3, (32, 32), [0])
    net = Network(backbone, {"main": torch.nn.Linear(width, 5)})
    recipe = Recipe(backbone=name, optimizer="adamw", weight_decay=0.05, layer_decay=0.6, decay_vectors=False)
    found = rates(optimiser_of(net, Stage(), recipe, CPU))
    for key, parameter in net.backbone.named_parameters():
        assert found[id(parameter)] == pytest.approx(names[key]), key
    weight, bias = net.heads["main"].parameters()
    assert (found[id(weight)], found[id(bias)]) == ((1.0, 0.05), (1.0, 0.0))


def test_copies_of_a_layer_have_its_rate_and_a_factor_of_the_stage_multiplies_it() -> None:
    backbone, width = initialised_backbone("test_resnet", 3, (32, 32), [0, 1])
    net = Network(backbone, {"a": torch.nn.Linear(width, 5), "b": torch.nn.Linear(width, 5)})
    recipe = Recipe(backbone="test_resnet", layer_decay=0.5)
    stage = Stage(trains={"backbone.*": 0.1, "heads.*": 1.0})
    found = rates(optimiser_of(net, stage, recipe, CPU))
    named = {name: found[id(p)][0] for name, p in net.named_parameters()}
    blocks = [name for name in named if name.endswith("layer4.0.conv1.weight")]
    assert len(blocks) == 2
    assert {named[name] for name in blocks} == {0.1 * 0.5}
    assert named["backbone.trunk.conv1.0.weight"] == pytest.approx(0.1 * 0.5**5)
    assert named["heads.a.weight"] == 1.0


def test_layers_that_a_method_adds_have_the_rate_of_heads() -> None:
    def deeper(backbone: torch.nn.Module) -> torch.nn.Module:
        backbone.get_submodule("layer4.0").add_module("added", torch.nn.Linear(2, 2))
        return backbone

    backbone, width = initialised_backbone("test_resnet", 3, (32, 32), [0], rebuild=deeper)
    net = Network(backbone, {"main": torch.nn.Linear(width, 5)})
    found = rates(optimiser_of(net, Stage(), Recipe(backbone="test_resnet", layer_decay=0.5), CPU))
    named = {name: found[id(p)][0] for name, p in net.named_parameters()}
    assert named["backbone.layer4.0.added.weight"] == named["heads.main.weight"] == 1.0
    assert named["backbone.layer4.0.conv1.weight"] == 0.5


def test_layers_that_are_not_known_are_refused() -> None:
    backbone, width = initialised_backbone("resnet8_cifar", 3, (32, 32), [0, 1])
    net = Network(backbone, {"main": torch.nn.Linear(width, 5)})
    with pytest.raises(InputError, match=r"layers of backbone 'resnet8_cifar' with branches are not known"):
        optimiser_of(net, Stage(), Recipe(backbone="resnet8_cifar", layer_decay=0.5), CPU)


class Quadratic(Method):
    """A loss whose gradient does not depend on images, so that a step can be written out."""

    def loss(self, net: Any, batch: Any, clock: Any) -> Tensor:
        return sum((p - 1).square().sum() for p in net.heads.parameters()) + 0 * net(batch.images).sum()


HEADS = Stage(trains="heads")


def test_steps_of_adamw_are_those_of_plain_pytorch_after_clipping(task: Task) -> None:
    running = RunningStage(
        Quadratic(), HEADS, 0, under(task, optimizer="adamw", lr=0.01, weight_decay=0.1, clip_grad=0.5, momentum=0.8)
    )
    copied = [torch.nn.Parameter(p.detach().clone()) for p in running.net.heads.parameters()]
    plain = torch.optim.AdamW(copied, lr=0.01, weight_decay=0.1, betas=(0.8, 0.999), foreach=False)
    plan = running.begin(0)
    for columns in plan.split(32, dim=2):
        running.step(columns.flatten(1))
        plain.zero_grad()
        for p in copied:
            p.grad = 2 * (p.detach() - 1)
        length = torch.cat([p.grad.flatten() for p in copied if p.grad is not None]).norm()
        for p in copied:
            assert p.grad is not None
            p.grad *= min(1.0, 0.5 / (length.item() + 1e-6))
        plain.step()
    for own, expected in zip(running.net.heads.parameters(), copied, strict=True):
        assert torch.allclose(own, expected, atol=1e-6)


def test_vectors_are_not_decayed_where_the_recipe_says_so(task: Task) -> None:
    both, matrices = (
        optimiser_of(RunningStage(Method(), HEADS, 0, t).net, HEADS, t.recipe, CPU)
        for t in (task, under(task, decay_vectors=False))
    )
    assert [group["weight_decay"] for group in both.param_groups] == [2e-4]
    assert sorted(group["weight_decay"] for group in matrices.param_groups) == [0, 2e-4]


def test_the_average_is_what_is_evaluated_and_kept(task: Task) -> None:
    averaged = RunningStage(Method(), Stage(), 0, under(task, ema_decay=0.9))
    usual = RunningStage(Method(), Stage(), 0, task)
    expected = [value.clone() for value in usual.net.state_dict().values()]
    for running in (averaged, usual):
        plan = running.begin(0)
        for columns in plan.split(32, dim=2):
            running.step(columns.flatten(1))
            if running is usual:
                for mean, value in zip(expected, usual.net.state_dict().values(), strict=True):
                    mean.mul_(0.9).add_(value, alpha=0.1)
    assert same(averaged.net.state_dict(), usual.net.state_dict())  # training is not changed by it
    before = copy.deepcopy(averaged.net.state_dict())
    with averaged.with_average():
        inside = copy.deepcopy(averaged.net.state_dict())
    assert same(averaged.net.state_dict(), before)
    for mean, value in zip(expected, inside.values(), strict=True):
        assert torch.allclose(mean, value, atol=1e-6)
    averaged.take_average()
    assert same(averaged.net.state_dict(), inside)


def test_a_killed_stage_with_everything_goes_on_to_the_same_numbers(task: Task) -> None:
    full = under(task, optimizer="adamw", lr=0.01, ema_decay=0.9, clip_grad=1.0, layer_decay=0.8, epochs=3)
    whole = train_stage(RunningStage(Method(), Stage(), 0, full), Memory())
    memory = Memory(dies_after=1)
    with pytest.raises(KeyboardInterrupt):
        train_stage(RunningStage(Method(), Stage(), 0, full), memory)
    memory.dies_after = None
    resumed = train_stage(RunningStage(Method(), Stage(), 0, full), memory)
    assert whole["losses"] == resumed["losses"]
    assert same(whole["network"], resumed["network"])


def test_rates_of_methods_follow_the_recipe() -> None:
    stage = Stage(lr=0.2, weight_decay=5e-4, schedule="cosine")
    recipe = Recipe(lr=0.001, lr_of_methods=0.1, optimizer="adamw", warmup_epochs=0)
    assert learning_rate(recipe, stage, 0, 10) == pytest.approx(0.002)
    assert learning_rate(Recipe(lr=0.001, warmup_epochs=0), stage, 0, 10) == 0.2
    net = Network(torch.nn.Flatten(), {"main": torch.nn.Linear(4, 2)})
    (group,) = optimiser_of(net, stage, recipe, CPU).param_groups
    assert group["weight_decay"] * 0.002 == pytest.approx(0.2 * 5e-4)  # decay x rate is that of the method


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, r"recipe\.optimizer=adam.*'sgd' or 'adamw'"),
        ({"optimizer": "adamw", "nesterov": True}, r"recipe\.nesterov=True: .*set optimizer=sgd"),
        ({"layer_decay": 0}, r"recipe\.layer_decay=0"),
        ({"clip_grad": 0}, r"recipe\.clip_grad=0"),
        ({"ema_decay": 1}, r"recipe\.ema_decay=1"),
        ({"frozen": True}, r"recipe\.frozen=True: .*needs pretrained weights"),
        ({"frozen": True, "pretrained": True}, r"recipe\.crop_padding=4: .*use recipe 'frozen'"),
    ],
)
def test_what_is_not_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe().changed(changes)


@pytest.mark.parametrize("change", [{"flip": True}, {"jitter": 0.1}, {"augment": "cutout"}, {"layer_decay": 0.5}])
def test_what_frozen_features_cannot_have(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"recipe\.{next(iter(change))}="):
        RECIPES["frozen"].changed(change)
