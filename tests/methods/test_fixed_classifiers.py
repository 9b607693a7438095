"""Losses on cosines: KPS, and the fixed classifier of ETF."""

import math

import pytest
import torch
from torch import Tensor

from ltbench.method.functional import by_reversed_size
from tests.methods.given import (
    COUNTS,
    LABELS,
    Answers,
    assert_same,
    clock,
    formula,
    labelled,
    log_softmax,
    mean,
    method_of,
    random,
    small_network,
)


@pytest.mark.parametrize("counts", [*COUNTS, [7, 120, 30]], ids=str)
@pytest.mark.parametrize("progress", [0.0, 0.59, 0.6])
def test_kps(counts: list[int], progress: float) -> None:
    cosines = random(12, 3).tanh().requires_grad_()
    loss = method_of("kps", counts).loss(Answers(cosines), labelled(), clock(progress))
    scales = [math.log(50 * n / min(counts)) / math.log(50) for n in counts]
    ranks = sorted(range(3), key=lambda j: counts[j])
    opposite = {ranks[k]: scales[ranks[2 - k]] for k in range(3)}
    losses = []
    for row, y in zip(cosines, LABELS, strict=True):
        margin = 0.2 * opposite[y] / max(scales)
        factor = min(max(15 * opposite[y], 15), 50) if progress >= 0.6 else 15
        own = torch.stack([factor * (scales[j] * z - margin * (j == y)) for j, z in enumerate(row)])
        losses.append(-log_softmax(own, y))
    assert_same(loss, mean(losses), [cosines], 1e-5)


def test_the_rarest_class_gets_the_value_of_the_most_frequent_one() -> None:
    values, counts = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([9, 5, 7, 1])
    assert by_reversed_size(values, counts).tolist() == [4.0, 3.0, 2.0, 1.0]


def test_directions_are_equally_far_apart() -> None:
    torch.manual_seed(0)
    for width, classes in ((5, 3), (64, 10), (7, 7)):
        directions = formula("etf", "simplex")(width, classes)
        expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
        assert torch.allclose(directions.T @ directions, expected, atol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_etf(share: float) -> None:
    method = method_of("etf", COUNTS[0])
    net = small_network(method).float().train()
    images = random(12, 1, 4, 4).float()
    with torch.no_grad():
        net.heads["main"].norm.bias.copy_(torch.linspace(-1, 1, 5))
    loss = method.loss(net, labelled(images, noise=[share]), clock())
    mixed = torch.stack([share * images[i] + (1 - share) * images[i - 1] for i in range(12)])
    features = net.features(mixed)
    norm = net.heads["main"].norm
    normal = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
    directions = net.heads["main"].get_buffer("directions")
    losses: list[Tensor] = []
    for i, row in enumerate(normal):
        for part, y in ((share, LABELS[i]), (1 - share, LABELS[i - 1])):
            losses.append(part * (row @ directions[:, y] / (row @ row).sqrt() - 1) ** 2 / 2)
    assert_same(loss, torch.stack(losses).sum() / 12, list(net.parameters()), 1e-4, of_gradient=1e-3)


def test_more_classes_than_features_are_possible() -> None:
    method = method_of("etf", COUNTS[0])
    head = method.build_head("main", 5, 9)
    assert head(torch.randn(4, 5)).shape == (4, 9)
    directions = head.get_buffer("directions")
    assert torch.allclose(directions.norm(dim=0), torch.ones(9), atol=1e-5)
