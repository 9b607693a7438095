"""Sharpness-aware methods: their gradient against its formula in plain loops."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ltbench import Batch, InputError, Network
from ltbench.method.sharpness import climbed
from tests.methods.given import COUNTS, LABELS, REGISTRY, assert_same, clock, labelled, method_of, random, small_network

IMAGES = random(12, 1, 4, 4, seed=1)
Loss = Callable[[], Tensor]


def gradient_of(method: Any, net: Network, batch: Batch, progress: float) -> tuple[Tensor, list[Tensor]]:
    """The loss and the gradients that a method leaves."""
    net.zero_grad()
    loss = method.stages()[0].gradient(
        net, lambda function=None: (function or method.loss)(net, batch, clock(progress))
    )
    return loss, [value.grad for value in net.parameters() if value.grad is not None]


def slow_gradient(net: Network, climbs: Loss, descends: Loss, rho: float, stays: Loss | None = None) -> list[Tensor]:
    """The gradient of ``descends`` at w + rho g / |g|, with g that of ``climbs`` at w, plus that of ``stays`` at w."""
    parameters = list(net.parameters())
    g = torch.autograd.grad(climbs(), parameters)
    at_w = torch.autograd.grad(stays(), parameters) if stays else [torch.zeros_like(value) for value in parameters]
    length = sum(float((x**2).sum()) for x in g) ** 0.5
    before = [value.detach().clone() for value in parameters]
    for value, x in zip(parameters, g, strict=True):
        value.data = value.data + rho * x / length
    found = torch.autograd.grad(descends(), parameters)
    for value, was in zip(parameters, before, strict=True):
        value.data = was
    return [x + y for x, y in zip(found, at_w, strict=True)]


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("base", ["ldam+drw", "ce+drw", "ce", "logit-adjustment"])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_the_base_is_the_loss_of_the_field(base: str, progress: float) -> None:
    sharp = method_of("sam", COUNTS[0], base=base)
    net, images = small_network(sharp).float(), IMAGES.float()
    usual = {"ldam+drw": "ldam_drw", "ce+drw": "ce_drw", "ce": "ce", "logit-adjustment": "logit_adjustment"}[base]
    expected = method_of(usual, COUNTS[0]).loss(net, labelled(images), clock(progress))
    assert_same(sharp.loss(net, labelled(images), clock(progress)), expected, list(net.parameters()), 1e-5)
    predicted = method_of(usual, COUNTS[0]).predict(net, images)
    assert torch.equal(sharp.predict(net, images), predicted)


def test_the_default_of_sam_is_a_published_setting() -> None:
    method = method_of("sam", COUNTS[0])
    figures = [f for f in method.published if f.family == "F1" and f.settings["base"] == method.base]
    assert {f.dataset for f in figures} == {"cifar10", "cifar100"}
    assert {f.settings["rho"] for f in figures} == {method.rho}


@pytest.mark.parametrize("base", ["ldam+drw", "ce+drw"])
@pytest.mark.parametrize("progress", [0.0, 0.9])
@pytest.mark.parametrize("rho", [0.05, 0.8])
def test_sam_takes_the_gradient_at_the_climbed_weights(base: str, progress: float, rho: float) -> None:
    method = method_of("sam", COUNTS[0], base=base, rho=rho)
    net, batch = small_network(method), labelled(IMAGES)
    loss, found = gradient_of(method, net, batch, progress)

    def usual() -> Tensor:
        return method.loss(net, batch, clock(progress))

    assert loss.item() == usual().item()
    assert_close(found, slow_gradient(net, usual, usual, rho))


def weighted(method: Any, net: Network, batch: Batch, weights: Sequence[float]) -> Loss:
    """The sum over images of the class's weight times the cross-entropy, over the number of images."""

    def loss() -> Tensor:
        rows = (net(batch.images).float() + method.shift).log_softmax(1)
        return -torch.stack([weights[y] * row[y] for row, y in zip(rows, LABELS, strict=True)]).sum() / len(LABELS)

    return loss


def test_imbsam_climbs_for_the_rare_classes_only() -> None:
    method = method_of("imbsam", COUNTS[0], base="ce", rho=0.5)
    net, batch = small_network(method), labelled(IMAGES)
    loss, found = gradient_of(method, net, batch, 0.0)
    rare, frequent = weighted(method, net, batch, [0, 0, 2]), weighted(method, net, batch, [1, 1, 0])
    assert loss.item() == pytest.approx(rare().item() + frequent().item(), rel=1e-5)
    assert_close(found, slow_gradient(net, rare, rare, 0.5, frequent))


def test_imbsam_without_rare_classes_is_the_usual_gradient() -> None:
    method = method_of("imbsam", [500, 500, 500], base="ce", rho=0.5)
    net, batch = small_network(method), labelled(IMAGES)
    _, found = gradient_of(method, net, batch, 0.0)
    assert_close(found, torch.autograd.grad(method.loss(net, batch, clock()), list(net.parameters())))


def test_focal_sam_climbs_by_a_share_of_each_class() -> None:
    method = method_of("focal_sam", COUNTS[0], rho=0.5)
    net, batch = small_network(method), labelled(IMAGES)
    _, found = gradient_of(method, net, batch, 0.0)
    shares = [0.8 * (1 - n / sum(COUNTS[0])) ** 3.2 for n in COUNTS[0]]
    sharp, rest = weighted(method, net, batch, shares), weighted(method, net, batch, [1 - c for c in shares])
    expected = [math.log(n / sum(COUNTS[0])) for n in COUNTS[0]]  # the authors' loss ignores the tau of their scripts
    assert method.shift.tolist() == pytest.approx(expected, rel=1e-5)
    assert_close(found, slow_gradient(net, sharp, sharp, 0.5, rest))


@pytest.mark.parametrize("counts", COUNTS[:2], ids=str)
def test_cc_sam_climbs_in_the_classifier_for_each_class(counts: list[int]) -> None:
    share, rho = 0.7, 0.05
    method = method_of("cc_sam", counts, rho=1e-3)
    method.radii *= rho / 1e-3
    net = small_network(method).float()
    weight, bias = net.heads["main"].weight, net.heads["main"].bias
    loss = method.loss(net, labelled(IMAGES.float(), noise=[share]), clock())
    features = net.features(torch.stack([share * IMAGES[i] + (1 - share) * IMAGES[i - 1] for i in range(12)]).float())

    def mixture(i: int) -> Tensor:
        row = (features[i] @ weight.T + bias).log_softmax(0)
        return -share * row[LABELS[i]] - (1 - share) * row[LABELS[i - 1]]

    total, k = torch.zeros(()), weight.numel() + bias.numel()
    length = float((weight**2).sum().detach() + (bias**2).sum().detach()) ** 0.5
    for y in range(3):
        members, steps = [i for i in range(12) if LABELS[i] == y], []
        mean = torch.stack([mixture(i) for i in members]).mean()
        for g in torch.autograd.grad(mean, (weight, bias), retain_graph=True):
            radius = rho * (length / float(g.norm())) ** 0.5 * (k / max(counts[y] - 1, 1)) ** 0.25 / 2**0.5
            steps.append(radius * g / g.norm())
        for i in members:
            climbed = features[i] @ (weight + steps[0]).T + bias + steps[1]
            total = total + 0.5 * mixture(i) - 0.5 * climbed.log_softmax(0)[y]
    assert_same(loss, total / 12, list(net.parameters()), 1e-4, of_gradient=1e-3)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1 / 30), (0.1, 2 / 15), (0.9, 0.3)])
def test_the_second_stage_of_cc_sam_moves_features_of_rare_classes_farther(progress: float, share: float) -> None:
    method = method_of("cc_sam", COUNTS[0])
    net = small_network(method).float()
    head, features = net.heads["main"], net.features(IMAGES.float())
    loss = method.stages()[1].loss(net, labelled(IMAGES.float()), clock(progress))
    given, total = features.detach().requires_grad_(), torch.zeros(())
    for y in range(3):
        members = [i for i in range(12) if LABELS[i] == y]
        own = -head(given[members]).log_softmax(1)[:, y].mean()
        d = torch.autograd.grad(own, given, retain_graph=True)[0]
        v = math.log(120 / COUNTS[0][y] + 0.01) / 2
        for i in members:
            moved = head(features[i] + v * d[i] / d.norm()).log_softmax(0)[y]
            total = total - share * v * moved - (1 - share) * head(features[i]).log_softmax(0)[y]
    assert_same(loss, total / 12, list(head.parameters()), 1e-4, of_gradient=1e-3)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("sam(base=logit-adjustment)", "log prior in the logits (sam)"),
        ("sam(base=ce+drw)", "class weights in the loss (sam)"),
    ],
)
def test_a_base_that_corrects_the_class_prior_is_named(entry: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"twice, by {says}")):
        REGISTRY.chain("tau_norm", {"after": entry})


def test_plain_cross_entropy_under_sam_corrects_nothing() -> None:
    assert [entry.name for entry, _ in REGISTRY.chain("tau_norm", {"after": "sam(base=ce)"})] == ["sam", "tau_norm"]


def test_weights_return_bit_for_bit_and_a_gradient_of_0_moves_nothing() -> None:
    net = small_network(method_of("ce", COUNTS[0])).float()
    net(IMAGES.float()).sum().backward()
    before = [value.detach().clone() for value in net.parameters()]
    with climbed(net, 0.7):
        moved = [value.detach() - was for value, was in zip(net.parameters(), before, strict=True)]
        assert all(value.grad is None for value in net.parameters())
    assert sum(float((x**2).sum()) for x in moved) ** 0.5 == pytest.approx(0.7, rel=1e-5)
    assert all(torch.equal(value, was) for value, was in zip(net.parameters(), before, strict=True))
    for value in net.parameters():
        value.grad = torch.zeros_like(value)
    with climbed(net, 0.7):
        assert all(torch.equal(value, was) for value, was in zip(net.parameters(), before, strict=True))
