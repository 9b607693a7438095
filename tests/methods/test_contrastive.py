"""Methods with a queue or a momentum encoder: their losses against formulas in plain loops."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import ive
from torch import Tensor

from ltbench import Network
from ltbench.method.contrastive import parametric_contrast
from ltbench.method.directions import contrast_logits, log_bessel
from ltbench.method.memory import Queue, follow, slow_copy
from tests.methods.given import COUNTS, LABELS, assert_same, clock, labelled, method_of, random, small_network


def slow_parametric(
    logits: Tensor, points: Tensor, labels: list[int], temperature: float, alpha: float, beta: float, smoothing: float
) -> Tensor:
    """One softmax over centres and the other points; every positive has its weight."""
    losses = []
    for i, row in enumerate(logits):
        others = [k for k in range(len(points)) if k != i]
        scores = {("centre", c): row[c] for c in range(len(row))}
        scores |= {("point", k): points[i] @ points[k] / temperature for k in others}
        total = torch.stack([s.exp() for s in scores.values()]).sum()
        shares = {c: 1 - smoothing if c == labels[i] else smoothing / (len(row) - 1) for c in range(len(row))}
        weights = {("centre", c): beta * share for c, share in shares.items()}
        weights |= {("point", k): alpha for k in others if labels[k] == labels[i]}
        summed = torch.stack([w * (scores[k] - total.log()) for k, w in weights.items()]).sum()
        losses.append(-summed / sum(weights.values()))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("alpha", "beta"), [(0.01, 1.0), (0.2, 0.5)])
def test_parametric_contrast(alpha: float, beta: float, smoothing: float) -> None:
    logits, raw = random(5, 3).requires_grad_(), random(12, 6, seed=1).requires_grad_()
    points = F.normalize(raw)
    found = parametric_contrast(logits, points, torch.tensor(LABELS), 0.5, alpha, beta, smoothing)
    assert_same(found, slow_parametric(logits, points, LABELS, 0.5, alpha, beta, smoothing), [logits, raw], 1e-8)


def remembering(name: str, **given: Any) -> tuple[Any, Network]:
    """A method and a small network with its memory, in float32 and training mode."""
    method = method_of(name, COUNTS[0], **given)
    net = small_network(method).float().train()
    net.remember(method.build_memory(net, torch.tensor(COUNTS[0], dtype=torch.float64)))
    return method, net


def test_paco_contrasts_queries_with_keys_of_the_slow_encoder_and_the_queue() -> None:
    method, net = remembering("paco", queue=16, width=8, alpha=0.2, temperature=0.5, momentum=0.9)
    queue, encoder = net.memory.get_submodule("queue"), slow_copy(net.memory.get_submodule("encoder"))
    assert isinstance(queue, Queue)
    queue.labels.copy_(torch.arange(16) % 4 - 1)
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.5)
    old, old_labels = queue.points.clone(), queue.labels.tolist()
    images = random(24, 1, 4, 4).float()
    batch = labelled(images, ("query", "key"))
    loss = method.loss(net, batch, clock())
    pairs = [
        (encoder.get_submodule("backbone"), net.backbone),
        (encoder.get_submodule("points"), net.heads["points"]),
    ]
    for slow, fast in pairs:
        for value, other in zip(slow.parameters(), fast.parameters(), strict=True):
            value.data = 0.9 * value.data + 0.1 * other.data
    features = net.features(images[:12])
    queries = F.normalize(net.heads["points"](features))
    keys = F.normalize(pairs[1][0](pairs[0][0](images[12:]))).detach()
    points, labels = torch.cat([queries, keys, old]), [*LABELS, *LABELS, *old_labels]
    log_prior = torch.tensor([math.log(n / sum(COUNTS[0])) for n in COUNTS[0]])
    logits = net.heads["main"](features) + log_prior
    slow = slow_parametric(logits, points, labels, 0.5, 0.2, 1.0, 0.0)
    assert_same(loss, slow, list(net.parameters()), 1e-5, of_gradient=1e-4)
    assert torch.allclose(queue.points[:12], keys, atol=1e-6)
    assert queue.labels[:12].tolist() == LABELS
    assert torch.equal(queue.points[12:], old[: len(old) - 12])


def test_gpaco_contrasts_both_views_with_each_other_and_the_queue() -> None:
    method, net = remembering("gpaco", queue=16, width=8, alpha=0.2, temperature=0.5, smoothing=0.1)
    queue = net.memory.get_submodule("queue")
    assert isinstance(queue, Queue)
    queue.labels.copy_(torch.arange(16) % 4 - 1)
    old, old_labels = queue.points.clone(), queue.labels.tolist()
    images = random(24, 1, 4, 4).float()
    loss = method.loss(net, labelled(images, ("first", "second")), clock())
    features = net.features(images)
    own = F.normalize(net.heads["points"](features))
    points, labels = torch.cat([own, old]), [*LABELS, *LABELS, *old_labels]
    log_prior = torch.tensor([math.log(n / sum(COUNTS[0])) for n in COUNTS[0]])
    logits = net.heads["main"](features) + log_prior
    slow = slow_parametric(logits, points, labels, 0.5, 0.2, 1.0, 0.1)
    assert_same(loss, slow, list(net.parameters()), 1e-5, of_gradient=1e-4)
    assert torch.allclose(queue.points[:12], own[12:].detach(), atol=1e-6)
    assert queue.labels[:12].tolist() == LABELS


def test_each_view_of_gpaco_has_batch_norm_statistics_of_its_own() -> None:
    method, net = remembering("gpaco", queue=16, width=8)
    normed = torch.nn.BatchNorm1d(5)
    net.backbone = torch.nn.Sequential(net.backbone, normed)
    method.loss(net, labelled(random(24, 1, 4, 4).float(), ("first", "second")), clock())
    assert normed.num_batches_tracked == 2


def test_a_queue_replaces_its_oldest_points() -> None:
    queue = Queue(5, 2)
    assert torch.allclose(queue.points.norm(dim=1), torch.ones(5))
    assert queue.labels.tolist() == [-1] * 5
    for first in (0, 3, 6):
        labels = torch.arange(first, first + 3)
        queue.push(labels[:, None].expand(3, 2).float(), labels)
    assert queue.labels.tolist() == [6, 7, 8, 3, 4]
    assert queue.points[:, 0].tolist() == [6.0, 7.0, 8.0, 3.0, 4.0]
    queue.push(torch.zeros(7, 2), torch.arange(7))  # more than it holds
    assert queue.labels.tolist() == [0, 1, 2, 3, 4]


def test_a_slow_copy_follows_and_keeps_its_own_statistics() -> None:
    module = torch.nn.BatchNorm1d(2)
    slow = slow_copy(module)
    module(random(4, 2).float())
    with torch.no_grad():
        module.weight.fill_(3.0)
    follow(slow, module, 0.75)
    assert slow.weight.tolist() == [1.5, 1.5]
    assert slow.running_mean is not None
    assert slow.running_mean.tolist() == [0.0, 0.0]


# ProCo


def test_the_uniform_expansion_of_bessel_functions() -> None:
    x = torch.tensor([1.0, 10.0, 64.0, 500.0, 1e4, 1e5], dtype=torch.float64)
    found = log_bessel(63.0, x)
    expected = torch.from_numpy(np.log(ive(63, x.numpy()))) + x
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_proco_contrasts_with_the_expectation_over_the_points_of_each_class() -> None:
    method, net = remembering("proco")
    means = net.memory.get_submodule("means")
    means.add(F.normalize(random(12, 128, seed=5).float()), torch.tensor(LABELS))
    means.next_epoch()
    kept = {name: getattr(means, name).clone() for name in ("points", "counts", "start")}
    images = random(36, 1, 4, 4).float()
    loss = method.loss(net, labelled(images, ("classified", "first", "second")), clock())
    features = net.features(images)
    points = F.normalize(net.heads["points"](features))
    log_prior = torch.tensor([math.log(n / sum(COUNTS[0])) for n in COUNTS[0]])
    total = F.cross_entropy(net.heads["main"](features[:12]) + log_prior, torch.tensor(LABELS))
    seen = {(age, c): [kept["points"][age, c]] * int(kept["counts"][age, c]) for age in (0, 1) for c in range(3)}
    for first in (12, 24):
        view = points[first : first + 12]
        for point, y in zip(view.detach(), LABELS, strict=True):
            for age in (0, 1):
                seen[age, y].append(point)
        rows = []
        for point in view:
            row = []
            for c in range(3):
                mean_point = torch.stack(seen[0, c]).mean(0).double()
                length = mean_point.norm()
                kappa = 128 * length / (1 - length**2)
                moved = (kappa * mean_point / length + point.double() / 0.1).norm()
                row.append(bessel(moved) - 63 * moved.log() - bessel(kappa) + 63 * kappa.log())
            rows.append(torch.stack(row).float() + log_prior)
        total = total + 0.5 * F.cross_entropy(torch.stack(rows), torch.tensor(LABELS))
    assert_same(loss, total, list(net.parameters()), 1e-4, of_gradient=1e-3)
    for (age, c), members in seen.items():
        assert torch.allclose(means.points[age, c], torch.stack(members).mean(0), atol=1e-5)
        assert means.counts[age, c] == len(members)


class Bessel(torch.autograd.Function):
    """log I_63 by SciPy, with its derivative I_64 / I_63 + 63 / x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(np.asarray(np.log(ive(63, x.numpy(force=True))))) + x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        ratio = torch.from_numpy(np.asarray(ive(64, x.numpy()) / ive(63, x.numpy())))
        return grads[0] * (ratio + 63 / x)


def bessel(x: Tensor) -> Tensor:
    value: Tensor = Bessel.apply(x)
    return value


def test_a_class_without_points_keeps_its_mean_and_equal_points_have_the_largest_concentration() -> None:
    method, net = remembering("proco")
    means = net.memory.get_submodule("means")
    point = F.normalize(random(1, 128).float()).expand(12, 128)
    means.add(point, torch.zeros(12, dtype=torch.int64))
    assert torch.equal(means.points[0, 1], means.start[1])
    assert torch.allclose(means.points[:, 0], point[:2], atol=1e-6)
    logits = contrast_logits(point[:1], means.points[0], 0.1)
    assert logits.isfinite().all()
    assert logits[0, 0] == pytest.approx(10.0, abs=0.1)  # all of its points are this one: z . m / T
    method.next_epoch(net)
    assert torch.equal(means.counts[1], torch.zeros(3))
    assert means.counts[0].tolist() == [12, 0, 0]
