"""One function runs every part of a backbone, and another may take its place."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.func import functional_call, stack_module_state

from ltbench import Method
from ltbench.check.problem import TINY
from ltbench.engine.evaluate import evaluate
from ltbench.engine.stage import RunningStage, compiled
from ltbench.method.registry import discover


@pytest.mark.parametrize("name", ["ce", "bbn", "ride", "mixup"])
def test_every_forward_pass_of_a_backbone_goes_through_this_function(name: str) -> None:
    """In training and in evaluation."""
    method = discover()[name].method()
    running = RunningStage(method, method.stages()[0], 0, TINY.task())
    inside: list[nn.Module] = []
    seen: dict[bool, set[str]] = {True: set(), False: set()}

    def run(part: nn.Module, images: Tensor) -> Tensor:
        inside.append(part)
        features: Tensor = part(images)
        inside.pop()
        return features

    running.net.run = run
    for module_name, module in running.net.backbone.named_modules():
        module.register_forward_pre_hook(lambda *_, name=module_name: seen[bool(inside)].add(name))
    running.step(running.begin(0)[:, :, :6].flatten(1))
    evaluate(running)
    assert seen[True]
    assert seen[False] == set()


def test_only_full_batches_in_training_are_compiled_and_runs_share_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph for two runs, their partial batches and their evaluations."""
    torch._dynamo.reset()
    counter, real = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=counter, **options))
    for seed in range(2):
        running = RunningStage(Method(), Method().stages()[0], 0, TINY.task(seed))
        running.net.run = compiled(TINY.recipe.batch_size)
        running.train(running.begin(0))
        evaluate(running)
    assert counter.frame_count == 1
    torch._dynamo.reset()


def features_of(backbones: list[nn.Module], images: Tensor) -> Tensor:
    """Features [K, B, D] of K backbones and their images [K, B, channels, H, W], in one call.

    A kernel for K runs would take the place of ``torch.vmap``.
    """
    parameters = {name: torch.stack([b.get_parameter(name) for b in backbones]) for name in names(backbones[0])}
    _, buffers = stack_module_state(backbones)  # type: ignore[arg-type]

    def one(own: dict[str, Tensor], kept: dict[str, Tensor], batch: Tensor) -> Any:
        return functional_call(backbones[0], (own, kept), (batch,))

    features: Tensor = torch.vmap(one)(parameters, buffers, images)
    return features


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def started(seed: int) -> RunningStage:
    """A run before its first step. Its batch norm does not update statistics, which vmap cannot do in place."""
    running = RunningStage(Method(), Method().stages()[0], 0, TINY.task(seed))
    running.begin(0)
    running.set_to(0.0, 0.1)
    running.net.backbone.eval()
    return running


def test_runs_with_plans_of_one_shape_can_train_a_step_with_one_call_for_all_backbones() -> None:
    alone, together = ([started(seed) for seed in range(3)] for _ in "ab")
    plans = [run.begin(0)[:, :, :6] for run in together]
    for run in together:
        run.net.backbone.eval()
    assert len({plan.shape for plan in plans}) == 1
    losses = [run.step(plan.flatten(1)) for run, plan in zip(alone, plans, strict=True)]

    batches = [run.batch(plan.flatten(1)) for run, plan in zip(together, plans, strict=True)]
    images = torch.stack([batch.images for batch in batches])
    found = []
    for run, batch, own in zip(together, batches, features_of([r.net.backbone for r in together], images), strict=True):
        run.net.run = lambda part, images, own=own: own
        found.append(run.loss(batch))
    torch.autograd.backward(found)
    for run in together:
        run.update()

    assert torch.allclose(torch.stack(found), torch.stack(losses), rtol=1e-5)
    for one, other in zip(alone, together, strict=True):
        for name, value in one.net.state_dict().items():
            assert torch.allclose(value, other.net.state_dict()[name], rtol=1e-4, atol=1e-6), name
