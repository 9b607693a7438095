"""A classifier that remembers the mean feature: TDE."""

import math

import pytest
import torch
from torch import Tensor

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


def parts_of(row: Tensor, parts: int) -> list[Tensor]:
    """Split the five features into parts as equal as possible, the larger ones first."""
    size = math.ceil(len(row) / parts)
    return [row[start : start + size] for start in range(0, len(row), size)]


def causal_logit(x: Tensor, w: Tensor, parts: int, alpha: float, centre: Tensor) -> Tensor:
    """16 / K sum_k (x_k / |x_k| - alpha cos(x_k, c_k) c_k / |c_k|) . w_k / (|w_k| + 1 / 32)."""
    total = torch.zeros((), dtype=x.dtype)
    for x_k, w_k, c_k in zip(*(parts_of(row, parts) for row in (x, w, centre)), strict=True):
        c_k = c_k / (c_k @ c_k).sqrt()
        x_k = x_k / (x_k @ x_k).sqrt()
        total = total + (x_k - alpha * (x_k @ c_k) * c_k) @ (w_k / ((w_k @ w_k).sqrt() + 1 / 32))
    return 16 / parts * total


@pytest.mark.parametrize("parts", [1, 2])
def test_tde(parts: int) -> None:
    """Training has the whole logits; prediction has them without the effect of the mean feature."""
    method = method_of("tde", COUNTS[0], parts=parts, alpha=1.5)
    net, batches = small_network(method), [random(12, 1, 4, 4, seed=seed) for seed in (1, 2)]
    weight, centre = net.heads["main"].weight, torch.zeros(5, dtype=torch.float64)
    for images in batches:
        loss, features = method.loss(net, labelled(images), clock()), net.features(images)
        centre = 0.9 * centre + features.detach().mean(0)
        rows = [torch.stack([causal_logit(x, w, parts, 0.0, centre) for w in weight]) for x in features]
        slow = mean([-log_softmax(row, y) for row, y in zip(rows, LABELS, strict=True)])
        assert_same(loss, slow, list(net.parameters()), 1e-6)
    expected = torch.stack(
        [torch.stack([causal_logit(x, w, parts, 1.5, centre) for w in weight]) for x in net.features(batches[0])]
    )
    assert torch.allclose(method.predict(net, batches[0]), expected)
    assert not torch.allclose(method.predict(net, batches[0]), net(batches[0]), atol=0.1)


def test_the_mean_feature_of_tde_is_stored_with_the_network() -> None:
    method = method_of("tde", COUNTS[0])
    net, images = small_network(method), random(12, 1, 4, 4)
    method.loss(net, labelled(images), clock())
    stored = small_network(method, seed=1)
    stored.load_state_dict(net.state_dict())
    assert torch.equal(method.predict(stored, images), method.predict(net, images))
