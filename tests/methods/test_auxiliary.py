"""Auxiliary learning: its losses term by term, what its hyper-parameters do, and what its streams see."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Network, class_balanced, instance_balanced
from ltbench.engine import epoch_plan
from ltbench.engine.augment.padded import PaddedCrop
from ltbench.errors import InputError
from ltbench.method.functional import quarter_turned
from ltbench.method.samplers import Again, Pool, balances
from ltbench.plan.recipe import RECIPES
from tests.methods.given import (
    COUNTS,
    LABELS,
    assert_same,
    clock,
    effective_number,
    labelled,
    log_softmax,
    mean,
    method_of,
    random,
    small_network,
)

METHODS = ("aux_random", "aux_reweighted", "aux_rotation", "aux_combined")
IMAGES = random(36, 1, 4, 4)


def given(method: Any, images: Tensor = IMAGES) -> Batch:
    """Twelve images a stream, those of the second and third with other labels than those of the first."""
    streams = tuple(method.streams_of(method.stages()[0]))
    batch = labelled(images[: 12 * len(streams)], streams)
    batch.labels[12:] = torch.tensor(LABELS).roll(5).repeat(len(streams) - 1)
    return batch


def turned(images: Tensor) -> Tensor:
    """Image i turned i mod 4 times: each time the last column becomes the first row."""
    result = []
    for i, image in enumerate(images):
        rows = image[0].tolist()
        for _ in range(i % 4):
            rows = [list(column) for column in zip(*rows, strict=True)][::-1]
        result.append(rows)
    return torch.tensor(result, dtype=images.dtype)[:, None]


def cross_entropy(logits: Tensor, labels: list[int], weights: list[float] | None = None) -> Tensor:
    losses = [-log_softmax(z, y) for z, y in zip(logits, labels, strict=True)]
    return mean(losses, None if weights is None else [weights[y] for y in labels])


def slow_tasks(name: str, net: Network) -> dict[str, Tensor]:
    """Every term of a method's loss, unweighted."""
    others, quarters, weights = (
        [LABELS[i - 5] for i in range(12)],
        [i % 4 for i in range(12)],
        effective_number(COUNTS[0]),
    )
    second, third = net.features(IMAGES[12:24]), IMAGES[24:] if name == "aux_combined" else IMAGES[12:24]
    terms = {"primary": cross_entropy(net.heads["primary"](net.features(IMAGES[:12])), LABELS)}
    if "auxiliary" in net.heads:
        terms["random"] = cross_entropy(net.heads["auxiliary"](second), others)
    if "reweighted" in net.heads:
        terms["reweighted"] = cross_entropy(net.heads["reweighted"](second), others, weights)
    if "rotation" in net.heads:
        terms["rotation"] = cross_entropy(net.heads["rotation"](net.features(turned(third))), quarters)
    return terms


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_the_sum_of_its_tasks(name: str) -> None:
    weights = {"random": 0.3, "rotation": 0.6, "reweighted": 0.7} if name == "aux_combined" else {"": 0.3}
    method = method_of(name, COUNTS[0], **{f"{task}_weight".strip("_"): w for task, w in weights.items()})
    method.__dict__.update({k: v.double() for k, v in vars(method).items() if isinstance(v, Tensor)})
    net = small_network(method)
    terms = slow_tasks(name, net)
    assert len(terms) == (4 if name == "aux_combined" else 2)
    slow = terms.pop("primary")
    for task, term in terms.items():
        slow = slow + weights.get(task, 0.3) * term
    assert_same(method.loss(net, given(method), clock()), slow, list(net.parameters()), 1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_without_its_gradient_the_primary_task_leaves_the_features_alone(name: str) -> None:
    """The features get the gradient of the auxiliary tasks only, the primary classifier that of its own."""
    gradients = {}
    for switch in ("on", "off"):
        method = method_of(name, COUNTS[0], primary_gradient=switch)
        net = small_network(method).float()
        method.loss(net, given(method, IMAGES.float()), clock()).backward()
        gradients[switch] = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    F.cross_entropy(net(IMAGES[:12].float()), torch.tensor(LABELS)).backward()
    for n, p in net.named_parameters():
        difference = gradients["on"][n] - gradients["off"][n]
        expected = p.grad if n.startswith("backbone.") and p.grad is not None else torch.zeros_like(p)
        assert torch.allclose(difference, expected, atol=1e-5), n
    assert gradients["off"]["heads.primary.weight"].any()


@pytest.mark.parametrize("name", METHODS)
def test_swapped_samplers(name: str) -> None:
    for swap, primary, others in (
        ("balanced-primary", class_balanced, instance_balanced),
        ("swapped", instance_balanced, class_balanced),
    ):
        method = method_of(name, COUNTS[0], samplers=swap)
        streams = dict(method.streams_of(method.stages()[0]))
        assert streams.pop("primary") is primary
        assert set(streams.values()) == {others}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("batch_norm", ["shared", "separate"])
def test_which_images_make_the_statistics_of_batch_norm(name: str, batch_norm: str) -> None:
    method = method_of(name, COUNTS[0], batch_norm=batch_norm)
    net = small_network(method).float()
    norm = nn.BatchNorm1d(5, momentum=1.0)
    net.backbone.append(norm)
    batch = given(method, IMAGES.float())
    shown = torch.cat([method.pictures(s, batch.part(s, batch.images)) for s in batch.streams])
    with torch.no_grad():
        features = net.backbone[:2](shown if batch_norm == "shared" else shown[:12])
    method.loss(net.train(), batch, clock()).backward()
    assert torch.allclose(norm.get_buffer("running_mean"), features.mean(0), atol=1e-6)
    assert torch.allclose(norm.get_buffer("running_var"), features.var(0), atol=1e-5)
    assert norm.track_running_stats


@pytest.mark.parametrize(("name", "streams"), [("aux_random", 2), ("aux_rotation", 2), ("aux_combined", 3)])
def test_with_equal_compute_as_many_images_are_seen_as_by_cross_entropy(name: str, streams: int) -> None:
    recipe = RECIPES["digits"].changed({"epochs": 30})
    stages = {c: method_of(name, COUNTS[0], compute=c).stages()[0] for c in ("added", "equal")}
    epochs = {c: recipe.stage_epochs(stage.epochs) for c, stage in stages.items()}
    assert epochs == {"added": 30, "equal": 30 // streams}


@pytest.mark.parametrize("head", ["primary", "auxiliary"])
def test_the_head_that_is_asked_at_test(head: str) -> None:
    method = method_of("aux_random", COUNTS[0], predicts=head)
    net = small_network(method)
    assert torch.equal(method.predict(net, IMAGES), net.heads[head](net.features(IMAGES)))


# what the streams see


def test_every_image_is_turned_by_its_place_mod_4() -> None:
    images = torch.arange(7 * 2 * 9.0).view(7, 2, 3, 3)
    found = quarter_turned(images)
    assert torch.equal(found[::4], images[::4])
    for channel in range(2):
        assert torch.equal(found[:, [channel]], turned(images[:, [channel]]))
    assert len({tuple(x.flatten().tolist()) for x in quarter_turned(images[:1].expand(4, -1, -1, -1))}) == 4


def test_images_that_are_not_square_cannot_be_turned() -> None:
    with pytest.raises(InputError, match=r"6x4 pixels cannot be rotated by 90 degrees; .*recipe\.image_size"):
        quarter_turned(torch.zeros(4, 1, 6, 4))


def test_only_the_stream_of_the_rotation_task_is_turned() -> None:
    for name, streams in (("aux_rotation", ("primary", "auxiliary")), ("aux_combined", ("auxiliary", "turned"))):
        method = method_of(name, COUNTS[0])
        assert torch.equal(method.pictures(streams[0], IMAGES), IMAGES)
        assert not torch.equal(method.pictures(streams[1], IMAGES), IMAGES)


def test_a_second_view_has_the_same_images_under_another_augmentation() -> None:
    pool = Pool.of(np.repeat([0, 1, 2], [50, 10, 2]), 3)
    streams = {"first": instance_balanced, "second": Again("first"), "third": Again("second")}
    drawn = epoch_plan.draw(pool, streams, 62, 0.0, [PaddedCrop(4, flip=True)], where=(0, 0, 0))
    assert torch.equal(drawn[0, 0], drawn[0, 1])
    assert torch.equal(drawn[0, 0], drawn[0, 2])
    for one, other in ((0, 1), (1, 2)):
        assert (drawn[2:, one] != drawn[2:, other]).float().mean() > 0.5
        assert (drawn[1, one] != drawn[1, other]).any()
    assert not balances(Again("first"))
