"""A stage under way: the functions that it calls, and what it takes over."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ltbench import Batch, Clock, Features, Method, Network, Stage
from ltbench.data import Imbalance, cut, load
from ltbench.engine.networks import network, restore
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task
from ltbench.engine.train import train_stage
from ltbench.plan.recipe import RECIPES
from tests.engine.test_engine import CPU, Memory, same

RECIPE = RECIPES["digits"].changed({"epochs": 2, "backbone": "resnet8_cifar"})


class Three(Method):
    """Three functions in place of the usual ones; ``calls`` says which object was called."""

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__(**hyperparameters)
        self.calls: list[str] = []

    def stages(self) -> Sequence[Stage]:
        return (Stage(epochs=0.5, loss=self.other_loss, project=self.clip, finish=self.look),)

    def setup(self, counts: Tensor) -> None:
        self.counts = counts

    def other_loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        self.calls.append("loss")
        return super().loss(net, batch, clock) + 0 * self.counts.sum().float()

    def clip(self, net: Network) -> None:
        self.calls.append("project")

    def look(self, net: Network, features: Features) -> None:
        self.calls.append("finish")


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.of(cut(load("digits"), Imbalance("exp", 20)), RECIPE, 0, CPU)


def test_a_stage_calls_the_functions_that_it_names_on_its_own_method(task: Task) -> None:
    original = Three()
    method = copy.deepcopy(original)
    train_stage(RunningStage(method, method.stages()[0], 0, task), Memory())
    steps = -(-len(task.data.train) // RECIPE.batch_size)
    assert method.calls == ["loss", "project"] * steps + ["finish"]
    assert original.calls == []


def test_parameters_can_be_projected_once_an_epoch(task: Task) -> None:
    method = Three()
    stage = replace(method.stages()[0], epochs=1.0, project_after="epoch")
    train_stage(RunningStage(method, stage, 0, task), Memory())
    steps = -(-len(task.data.train) // RECIPE.batch_size)
    assert method.calls == (["loss"] * steps + ["project"]) * 2 + ["finish"]


def test_what_was_saved_is_resumed_bit_for_bit(task: Task) -> None:
    running = RunningStage(Method(), Stage(), 0, task)
    running.train(running.begin(0))
    running.state["epoch"] = 1
    other = RunningStage(Method(), Stage(), 0, task)
    other.resume(copy.deepcopy(running.to_save()))
    assert running.train(running.begin(1)) == other.train(other.begin(1))
    assert same(running.net.state_dict(), other.net.state_dict())


@pytest.mark.parametrize("new_heads", [False, True])
def test_a_stage_starts_from_the_stage_before(task: Task, new_heads: bool) -> None:
    before = RunningStage(Method(), Stage(), 0, task)
    restore(before.net, {name: torch.full_like(value, 0.5) for name, value in before.net.state_dict().items()})
    found = RunningStage(Method(), Stage(new_heads=new_heads), 1, task, before.to_save())
    for name, value in found.net.state_dict().items():
        assert bool((value == 0.5).all()) == (name.startswith("backbone.") or not new_heads), name


class Before(Method):
    """Two heads, the second with the name that usually predicts."""

    heads = ("primary", "main")


class Also(Method):
    heads = ("main", "primary")


@pytest.mark.parametrize("after", [Method, Also])
def test_the_head_that_predicts_continues_whatever_its_name(task: Task, after: type[Method]) -> None:
    before = RunningStage(Before(), Stage(), 0, task)
    found = RunningStage(after(), Stage(), 1, task, before.to_save()).net
    for name in ("weight", "bias"):
        primary = before.net.heads["primary"].get_parameter(name)
        assert torch.equal(found.heads["main"].get_parameter(name), primary)
        if after is Also:  # the head of this name was continued by another one
            assert not torch.equal(found.heads["primary"].get_parameter(name), primary)


def test_the_recipe_initialises_the_classifier(task: Task) -> None:
    ldam = replace(task, recipe=RECIPE.changed({"classifier_init": "ldam"}))
    usual, other = (network(Method(), t, 0).state_dict() for t in (task, ldam))
    assert [name for name in usual if not torch.equal(usual[name], other[name])] == ["heads.main.weight"]
