"""Methods that train features by their distance to the means of classes: DRO-LT."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ltbench.method.samplers import Pool, balances, four_in_a_row
from tests.methods.given import (
    COUNTS,
    LABELS,
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


def slow_robust_loss(features: Tensor, labels: list[int], means: Tensor, radius: Tensor) -> Tensor:
    """Image by image, as in the authors' code: over the batch for each class, then over the classes in the batch."""
    of_classes = []
    for c in sorted(set(labels)):
        logits = []
        for row, y in zip(features, labels, strict=True):
            distance = ((row - means[c]) ** 2).sum().sqrt()
            logits.append(-(distance + radius[c]) if y == c else -distance)
        total = torch.stack(logits).exp().sum()
        of_classes.append(mean([total.log() - z for z, y in zip(logits, labels, strict=True) if y == c]))
    return mean(of_classes)


@pytest.mark.parametrize("labels", [LABELS, [0] * 11 + [2]], ids=["all classes", "one class is not in the batch"])
def test_the_robust_loss(labels: list[int]) -> None:
    features, means = random(12, 5).requires_grad_(), random(3, 5, seed=1)
    radius = random(3, seed=2).abs().requires_grad_()
    loss = formula("dro_lt", "robust_loss")(features, torch.tensor(labels), means, radius)
    assert_same(loss, slow_robust_loss(features, labels, means, radius), [features, radius])


def test_dro_lt_adds_cross_entropy_with_weights_by_class_size_and_learns_the_radius() -> None:
    method = method_of("dro_lt", COUNTS[0])
    net = small_network(method).float()
    net.remember(method.build_memory(net, torch.tensor(COUNTS[0])))
    images = random(12, 1, 4, 4).float()
    features = net.features(images).detach()
    method.take_means(net, features, torch.tensor(LABELS))
    means = net.memory.get_buffer("means")
    for c in range(3):
        own = torch.stack([row for row, y in zip(features, LABELS, strict=True) if y == c])
        assert torch.allclose(means[c], own.mean(0), atol=1e-6)
    rows = zip(net(images), LABELS, strict=True)
    usual = mean([-log_softmax(row, y) for row, y in rows], [float(COUNTS[0][y]) for y in LABELS])
    radius = net.heads["radius"].get_parameter("value")
    slow = usual + slow_robust_loss(net.features(images), LABELS, means, radius)
    assert_same(method.loss(net, labelled(images), clock()), slow, list(net.parameters()), 1e-5, of_gradient=1e-4)


def test_the_stages_of_dro_lt_train_features_and_radius_then_the_classifier() -> None:
    features, classifier = method_of("dro_lt", COUNTS[0]).stages()
    assert set(features.trains) == {"backbone.*", "heads.radius.*"}
    assert set(classifier.trains) == {"heads.main.*"}
    assert (classifier.batch_norm, features.schedule, classifier.schedule) == ("eval", "constant", "constant")


def test_batches_have_four_images_of_a_class_in_a_row_and_every_image_comes_again_after_all_others() -> None:
    labels = np.repeat([0, 1, 2, 3, 4], [9, 4, 3, 1, 2])
    drawn = four_in_a_row(Pool.of(labels, 5), 203, 0.0, np.random.default_rng(0))
    assert len(drawn) == 203
    classes = labels[drawn][:200].reshape(50, 4)
    assert (classes == classes[:, :1]).all()
    assert all(sorted(classes[i : i + 5, 0]) == [0, 1, 2, 3, 4] for i in range(0, 50, 5))
    for c, count in enumerate([9, 4, 3, 1, 2]):
        own = drawn[labels[drawn] == c]
        assert all(len(set(own[i : i + count])) == count for i in range(0, len(own) - count, count))
    assert balances(four_in_a_row)
