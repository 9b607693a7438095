"""Every registered method keeps the contract; every formula against a slow one written here from its paper."""

import ast
import inspect
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from ltbench import Batch, Choice, Clock, Method, Range
from ltbench.data import Imbalance, cut, load
from ltbench.engine.train import Task
from ltbench.errors import InputError
from ltbench.execute import network
from ltbench.functional import effective_number_weights
from ltbench.recipe import RECIPES
from ltbench.registry import BUILTIN, Registry, discover
from ltbench.samplers import instance_balanced

REGISTRY: Registry = discover()
COUNTS = [[120, 30, 7], [5000, 50, 1], [1, 1, 1]]
CPU = torch.device("cpu")


def formula(method: str, function: str) -> Any:
    return getattr(inspect.getmodule(REGISTRY[method].method), function)


def logits_and_labels(dtype: torch.dtype = torch.float64, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(12, classes, generator=generator, dtype=torch.float64)
    return logits.to(dtype).requires_grad_(), torch.arange(12) % classes


# the contract, for every method


def test_the_six_methods_are_there() -> None:
    assert set(REGISTRY) >= {"ce", "class_balanced_sampling", "focal", "ldam_drw", "crt", "aux_random"}
    assert REGISTRY.broken == {}


@pytest.mark.parametrize("name", REGISTRY)
def test_a_methods_file_reads_as_the_style_asks(name: str) -> None:
    entry = REGISTRY[name]
    text = entry.file.read_text()
    assert entry.file.stem == name == entry.method.name
    assert 10 <= len(text.splitlines()) <= 65
    head = ast.get_docstring(ast.parse(text)) or ""
    assert "Deviation" in head
    assert entry.about.endswith(".")
    for figure in entry.method.published:
        assert figure.grade in "AB"
        assert 1 / 100 < figure.accuracy / 100 < 1


@pytest.mark.parametrize("name", REGISTRY)
def test_nothing_else_in_the_tree_knows_a_methods_name(name: str) -> None:
    if name == "ce" or name in RECIPES:
        pytest.skip("two letters are found everywhere, and a recipe may have a method's name")
    package = BUILTIN.parent / "ltbench" if (BUILTIN.parent / "ltbench").is_dir() else BUILTIN.parent
    sources = [p for p in package.rglob("*.py") if BUILTIN not in p.parents]
    assert [p.name for p in sources if re.search(rf"[\"']{name}[\"']", p.read_text())] == []


# the formulas


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss(gamma: float) -> None:
    logits, labels = logits_and_labels()
    focal_loss = formula("focal", "focal_loss")
    slow = torch.zeros((), dtype=torch.float64)
    for z, y in zip(logits, labels, strict=True):
        p = torch.exp(z[y]) / torch.exp(z).sum()
        slow = slow - (1 - p) ** gamma * torch.log(p) / len(labels)
    fast = focal_loss(logits, labels, gamma)
    assert torch.allclose(fast, slow)
    (g_fast,), (g_slow,) = torch.autograd.grad(fast, logits), torch.autograd.grad(slow, logits)
    assert torch.allclose(g_fast, g_slow)
    single = focal_loss(logits.detach().float(), labels, gamma)
    assert single.item() == pytest.approx(slow.item(), rel=1e-5)


def test_focal_loss_with_gamma_0_is_cross_entropy_and_stays_finite_when_sure() -> None:
    logits, labels = logits_and_labels()
    focal_loss = formula("focal", "focal_loss")
    assert torch.allclose(focal_loss(logits, labels, 0.0), torch.nn.functional.cross_entropy(logits, labels))
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = focal_loss(sure, torch.tensor([0]), 0.25)
    loss.backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


@pytest.mark.parametrize("counts", COUNTS)
def test_ldam_margins(counts: list[int]) -> None:
    margins = formula("ldam_drw", "ldam_margins")(torch.tensor(counts, dtype=torch.float64), 0.5)
    largest = max(n**-0.25 for n in counts)
    assert margins.tolist() == pytest.approx([0.5 * n**-0.25 / largest for n in counts])


def test_ldam_takes_the_margin_off_the_targets_cosine_before_the_scale() -> None:
    method: Any = REGISTRY["ldam_drw"].method(scale=7.0)
    method.setup(torch.tensor([100.0, 10.0, 1.0], dtype=torch.float64))
    logits, labels = logits_and_labels()
    cosines = (logits / 10).detach().requires_grad_()

    class Net:
        def __call__(self, images: Tensor) -> Tensor:
            return cosines

    def slow(weights: list[float]) -> float:
        total = weight = 0.0
        for row, y in zip(cosines.tolist(), labels.tolist(), strict=True):
            shifted = [7 * (c - (method.margins[y].item() if j == y else 0)) for j, c in enumerate(row)]
            total += weights[y] * (math.log(sum(map(math.exp, shifted))) - shifted[y])
            weight += weights[y]
        return total / weight

    batch = Batch(torch.zeros(12), labels, ("main",))
    early = method.loss(Net(), batch, Clock(torch.tensor(0.79)))
    late = method.loss(Net(), batch, Clock(torch.tensor(0.8)))
    assert early.item() == pytest.approx(slow([1, 1, 1]), rel=1e-5)
    assert late.item() == pytest.approx(slow(method.weights.tolist()), rel=1e-5)
    assert torch.equal(method.predict(Net(), torch.zeros(12)), 7 * cosines)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_effective_number_weights(counts: list[int], beta: float) -> None:
    weights = effective_number_weights(torch.tensor(counts, dtype=torch.float64), beta)
    raw = [(1 - beta) / (1 - beta**n) for n in counts]
    assert weights.tolist() == pytest.approx([w * len(counts) / sum(raw) for w in raw])


def test_effective_number_weights_tend_to_inverse_frequency() -> None:
    counts = torch.tensor([5000.0, 50.0, 1.0], dtype=torch.float64)
    inverse = (1 / counts) * 3 / (1 / counts).sum()
    assert torch.allclose(effective_number_weights(counts, 1 - 1e-12), inverse, rtol=1e-6)


def test_aux_random_adds_the_losses_of_its_two_streams() -> None:
    data = cut(load("digits"), Imbalance("exp", 20))
    task = Task.of(data, RECIPES["digits"], 0, CPU)
    method = REGISTRY["aux_random"].method(weight=0.3)
    net = network(method, task, 0).eval()
    images = task.normalise(torch.from_numpy(data.train.images[:8]))
    labels = torch.from_numpy(data.train.labels[:8])
    found = method.loss(net, Batch(images, labels, ("primary", "auxiliary")), Clock(torch.zeros(())))
    cross_entropy = torch.nn.functional.cross_entropy
    primary = cross_entropy(net.heads["primary"](net.features(images[:4])), labels[:4])
    auxiliary = cross_entropy(net.heads["auxiliary"](net.features(images[4:])), labels[4:])
    assert torch.allclose(found, primary + 0.3 * auxiliary, rtol=1e-4)
    found.backward()
    assert all(p.grad is not None for p in net.parameters())
    assert method.streams["auxiliary"] is instance_balanced


# hyper-parameters


class Example(Method):
    name = "example"
    strength = Range(1.0, 0.1, 10.0, log=True)
    heads_of = Range(3, 2, 4)
    mode = Choice("a", ("a", "b"))


def test_hyperparameters_are_values_on_a_method_and_descriptions_on_its_class() -> None:
    assert (Example().strength, Example(strength=2).strength) == (1.0, 2.0)
    assert isinstance(Example(strength=2).strength, float)
    assert Example.space()["strength"].low == 0.1  # type: ignore[attr-defined]
    assert Example(heads_of=4.0).heads_of == 4
    assert list(Example.space()) == ["strength", "heads_of", "mode"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stength": 2}, "unknown hyper-parameter of example 'stength'; did you mean 'strength'"),
        ({"strength": "x"}, r"example\.strength=x: a number is wanted"),
        ({"strength": float("inf")}, r"example\.strength=inf"),
        ({"heads_of": 2.5}, "a whole number is wanted"),
        ({"mode": "c"}, r"example\.mode=c: one of a, b is wanted"),
    ],
)
def test_wrong_hyperparameters_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Example(**given)


def test_ranges_and_choices_hold_their_default() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Range(5.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="log"):
        Range(0.5, 0.0, 1.0, log=True)
    with pytest.raises(ValueError, match="must be one of"):
        Choice("x", ("a",))
