"""What the tests of formulas begin with: methods, class sizes, logits, small networks, and softmax in plain loops."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network
from ltbench.method.registry import discover
from ltbench.models.network import Branched

REGISTRY = discover()
COUNTS = [[120, 30, 7], [5000, 50, 1], [1, 1, 1]]
LABELS = [0, 1, 2, 0, 0, 1, 0, 2, 0, 1, 0, 0]


class Answers:
    """A network that answers every image with these logits, [B, C] or of experts [K, B, C]."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, images: Tensor) -> Tensor:
        return self.logits

    experts = __call__


def method_of(name: str, counts: Sequence[int], **hyperparameters: Any) -> Any:
    """A method that knows its class sizes."""
    method = REGISTRY[name].method(**hyperparameters)
    method.setup(torch.tensor(counts, dtype=torch.float64))
    return method


def formula(method: str, function: str) -> Any:
    """A function of a method's file."""
    return getattr(inspect.getmodule(REGISTRY[method].method), function)


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normal numbers in float64."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clock(progress: float = 0.0) -> Clock:
    return Clock(torch.tensor(progress))


def labelled(images: Tensor | None = None, streams: Sequence[str] = ("main",), noise: Sequence[float] = ()) -> Batch:
    """A batch of the twelve labels, the same in every stream."""
    labels = torch.tensor(LABELS * len(streams))
    columns = torch.tensor(noise, dtype=torch.float64)[:, None].expand(-1, len(LABELS))
    return Batch(torch.zeros(len(labels)) if images is None else images, labels, tuple(streams), columns)


def small_network(method: Method, classes: int = 3, seed: int = 0) -> Network:
    """The method's heads on linear features [B, 5] of images [B, 1, 4, 4], in float64 and evaluation mode."""
    torch.manual_seed(seed)
    tails: list[nn.Module] = [nn.Sequential(nn.Flatten(), nn.Linear(16, 5)) for _ in range(method.branches)]
    backbone = tails[0] if method.branches == 1 else Branched(nn.Identity(), tails)
    heads = {name: method.build_head(name, 5, classes) for name in method.heads}
    return Network(backbone, heads).double().eval()


def log_softmax(logits: Tensor, j: int) -> Tensor:
    """Log of exp(z_j) / sum_k exp(z_k). logits: [C]."""
    total = torch.zeros((), dtype=logits.dtype)
    for z in logits:
        total = total + torch.exp(z)
    return logits[j] - torch.log(total)


def mean(values: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """sum w v / sum w."""
    weights = [1.0] * len(values) if weights is None else weights
    total = torch.zeros((), dtype=values[0].dtype)
    for value, weight in zip(values, weights, strict=True):
        total = total + weight * value
    return total / sum(weights)


def effective_number(counts: Sequence[int], beta: float = 0.9999) -> list[float]:
    """(1 - beta) / (1 - beta ** n), scaled to sum to C."""
    raw = [(1 - beta) / (1 - beta**n) for n in counts]
    return [w * len(counts) / sum(raw) for w in raw]


def assert_same(
    fast: Tensor, slow: Tensor, parameters: Sequence[Tensor], tolerance: float = 1e-9, of_gradient: float | None = None
) -> None:
    """The same value, and the same gradient for every parameter that has one.

    Args:
        fast, slow: 0-dim.
        parameters: what is differentiated by.
        tolerance: relative, of the value.
        of_gradient: of each gradient, relative to its largest entry; by default ``tolerance``.
    """
    np.testing.assert_allclose(fast.item(), slow.item(), rtol=tolerance, atol=tolerance)
    found = torch.autograd.grad(fast, parameters, allow_unused=True, retain_graph=True)
    expected = torch.autograd.grad(slow, parameters, allow_unused=True)
    assert any(g is not None for g in expected)
    for g, e in zip(found, expected, strict=True):
        zero = torch.zeros(1)
        g, e = (zero if x is None else x.double() for x in (g, e))
        limit = (tolerance if of_gradient is None else of_gradient) * max(e.abs().max().item(), 1e-3)
        assert (g - e).abs().max().item() <= limit
