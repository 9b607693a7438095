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
from ltbench.method.contract import Batch
from ltbench.method.registry import discover
from tests.engine.test_engine import CPU


@pytest.mark.parametrize("name", ["ce", "bbn", "ride", "mixup"])
def test_the_features_of_every_method_come_from_this_function(name: str) -> None:
    """In training and in evaluation."""
    method = discover()[name].method()
    running = RunningStage(method, method.stages()[0], 0, TINY.task())
    ran: list[nn.Module] = []

    def run(part: nn.Module, images: Tensor) -> Tensor:
        ran.append(part)
        features: Tensor = part(images)
        return features

    running.net.run = run
    called: list[str] = []
    for module_name, part in running.net.backbone.named_children():
        part.register_forward_hook(lambda *_, name=module_name: called.append(name))
    running.step(running.begin(0)[:, :, :6].flatten(1))
    evaluate(running)
    assert ran
    assert called
    ran_parts = {id(module) for part in ran for module in part.modules()}
    parameters_of_backbone = [module for module in running.net.backbone.modules() if list(module.parameters(False))]
    assert all(id(module) in ran_parts for module in parameters_of_backbone)


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


class Fused:
    """Features of K networks in one function, here with stacked parameters and ``torch.vmap``."""

    def __init__(self, runs: list[RunningStage]) -> None:
        self.runs = runs

    def __call__(self, batches: list[Batch]) -> Tensor:
        """Images of K runs [B, channels, H, W] each -> features [K, B, D]."""
        backbones = [run.net.backbone for run in self.runs]
        parameters, buffers = stack_module_state(backbones)  # type: ignore[arg-type]
        stacked = {
            name: torch.stack([dict(b.named_parameters())[name] for b in backbones]) for name in parameters
        }  # differentiable, unlike those of stack_module_state

        def one(values: dict[str, Tensor], kept: dict[str, Tensor], images: Tensor) -> Any:
            return functional_call(backbones[0], (values, kept), (images,))

        features: Tensor = torch.vmap(one)(stacked, buffers, torch.stack([batch.images for batch in batches]))
        return features


def test_the_backbones_of_several_runs_can_be_computed_in_one_call() -> None:
    """Runs whose plans have the same shape train a step together, as each alone."""
    alone, together = ([RunningStage(Method(), Method().stages()[0], 0, TINY.task(s)) for s in range(3)] for _ in "ab")
    plans = [run.begin(0) for run in together]
    for run in alone:
        run.begin(0)
    for run in (*alone, *together):
        run.net.backbone.eval()  # vmap cannot update running statistics in place
        run.set_to(0.0, 0.1)
    assert len({plan.shape for plan in plans}) == 1
    columns = [plan[:, :, :6].flatten(1) for plan in plans]
    losses = [run.step(part) for run, part in zip(alone, columns, strict=True)]

    batches = [run.batch(part) for run, part in zip(together, columns, strict=True)]
    features = Fused(together)(batches)
    found = []
    for run, batch, own in zip(together, batches, features, strict=True):
        run.net.run = lambda part, images, own=own: own
        found.append(run.loss(batch))
    torch.autograd.backward(found)
    for run in together:
        run.update()

    assert torch.allclose(torch.stack(found), torch.stack(losses), rtol=1e-5)
    for one, other in zip(alone, together, strict=True):
        for name, value in one.net.state_dict().items():
            assert torch.allclose(value, other.net.state_dict()[name], rtol=1e-4, atol=1e-6), name
    assert CPU == columns[0].device
