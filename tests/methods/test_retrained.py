"""Classifiers that are trained further on frozen features: H2T, LOS."""

import pytest
import torch

from ltbench.method.functional import spread
from tests.methods.given import (
    COUNTS,
    LABELS,
    assert_same,
    clock,
    labelled,
    log_softmax,
    mean,
    method_of,
    random,
    small_network,
)


@pytest.mark.parametrize("fused", [0.0, 0.25, 0.5])
def test_h2t_replaces_channels_of_balanced_images_by_those_of_ordinary_ones(fused: float) -> None:
    method = method_of("h2t", COUNTS[0], **({"fused": fused} if fused else {"fused": 0.1}))
    net, images = small_network(method).float(), random(24, 1, 4, 4).float()
    loss = method.loss(net, labelled(images, ("balanced", "ordinary"), [0.375]), clock())
    places = sorted(range(5), key=lambda k: spread(torch.tensor([0.375]), 5)[0, k].item())
    replaced = set(places[: int((fused or 0.1) * 5)])
    assert len(replaced) == {0.0: 0, 0.25: 1, 0.5: 2}[fused]
    losses = []
    for own, other, y in zip(net.features(images[:12]), net.features(images[12:]), LABELS, strict=True):
        row = torch.stack([other[k] if k in replaced else own[k] for k in range(5)])
        losses.append(-log_softmax(net.heads["main"](row), y))
    assert_same(loss, mean(losses), list(net.parameters()), 1e-5, of_gradient=1e-4)


def test_los() -> None:
    method = method_of("los", COUNTS[0])
    net, images = small_network(method).float(), random(12, 1, 4, 4).float()
    loss = method.loss(net, labelled(images), clock())
    losses = []
    for row, y in zip(net(images), LABELS, strict=True):
        targets = [0.98 / 3 + 0.02 * (j == y) for j in range(3)]
        losses.append(-sum(t * log_softmax(row, j) for j, t in enumerate(targets)))
    assert_same(
        loss, mean([torch.as_tensor(value) for value in losses]), list(net.parameters()), 1e-5, of_gradient=1e-4
    )


@pytest.mark.parametrize("name", ["h2t", "los"])
def test_the_classifier_is_trained_further_and_the_backbone_is_not(name: str) -> None:
    (stage,) = method_of(name, COUNTS[0]).stages()
    assert stage.trains == {"heads.main.*": 1.0}
    assert not stage.new_heads
