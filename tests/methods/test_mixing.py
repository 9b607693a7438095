"""Methods that mix images: mixup, remix, CMO, and one that translates them: M2m."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch
from ltbench.method.functional import mixed, mixed_cross_entropy
from ltbench.method.pasting import patch_of
from ltbench.method.translation import small_noise
from tests.methods.given import (
    COUNTS,
    LABELS,
    assert_same,
    clock,
    effective_number,
    formula,
    labelled,
    log_softmax,
    mean,
    method_of,
    random,
    small_network,
)

IMAGES = random(12, 1, 4, 4, seed=1)


def partners(values: Any) -> list[Any]:
    """Of each row the row before; of the first one the last."""
    return [values[i - 1] for i in range(len(values))]


def slow_mixup(logits: Tensor, shares: list[float]) -> Tensor:
    losses = []
    for row, y, other, share in zip(logits, LABELS, partners(LABELS), shares, strict=True):
        losses.append(-share * log_softmax(row, y) - (1 - share) * log_softmax(row, other))
    return mean(losses)


def slow_images(share: float) -> Tensor:
    return torch.stack([share * x + (1 - share) * other for x, other in zip(IMAGES, partners(IMAGES), strict=True)])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.625, 1.0])
def test_mixup(share: float) -> None:
    method = method_of("mixup", COUNTS[0])
    net = small_network(method)
    loss = method.loss(net, labelled(IMAGES, noise=[share]), clock())
    slow = slow_mixup(net(slow_images(share)), [share] * 12)
    assert_same(loss, slow, list(net.parameters()))


def test_mixing_in_half_the_precision_of_the_logits() -> None:
    """Given the same bf16 logits, bf16 arithmetic outside autocast has 8 bits: 2 ** -6 of the value."""
    logits = random(12, 3).bfloat16()
    loss = mixed_cross_entropy(logits, torch.tensor(LABELS), torch.tensor(0.25))
    assert loss.item() == pytest.approx(slow_mixup(logits.double(), [0.25] * 12).item(), rel=2**-6)
    single = mixed_cross_entropy(logits.float(), torch.tensor(LABELS), torch.tensor(0.25))
    assert single.item() == pytest.approx(slow_mixup(logits.double(), [0.25] * 12).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["mixup", "remix"])
def test_a_share_of_1_is_cross_entropy_of_the_images_themselves(name: str) -> None:
    method = method_of(name, COUNTS[1])
    net = small_network(method)
    loss = method.loss(net, labelled(IMAGES, noise=[1.0]), clock())
    assert_same(loss, F.cross_entropy(net(IMAGES), torch.tensor(LABELS)), list(net.parameters()))
    assert torch.equal(mixed(IMAGES, torch.tensor(1.0)), IMAGES)


def slow_label_share(share: float, own: int, partner: int, kappa: float = 3.0, tau: float = 0.5) -> float:
    if own / partner >= kappa and share < tau:
        return 0.0
    if own / partner <= 1 / kappa and 1 - share < tau:
        return 1.0
    return share


@pytest.mark.parametrize("counts", [*COUNTS, [90, 30, 10], [30, 10, 29]], ids=str)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_remix(share: float, counts: list[int]) -> None:
    method = method_of("remix", counts)
    net = small_network(method)
    loss = method.loss(net, labelled(IMAGES, noise=[share]), clock())
    sizes = [counts[y] for y in LABELS]
    shares = [slow_label_share(share, n, other) for n, other in zip(sizes, partners(sizes), strict=True)]
    assert_same(loss, slow_mixup(net(slow_images(share)), shares), list(net.parameters()))


def test_remix_gives_the_label_to_the_rarer_class() -> None:
    share_of = formula("remix", "label_share")
    frequent, rare = torch.tensor([100.0]), torch.tensor([10.0])
    assert share_of(torch.tensor(0.4), frequent, rare, 3.0, 0.5).item() == 0
    assert share_of(torch.tensor(0.6), rare, frequent, 3.0, 0.5).item() == 1
    assert share_of(torch.tensor(0.75), frequent, rare, 3.0, 0.5).item() == 0.75


def test_remix_of_equal_classes_is_mixup() -> None:
    losses = []
    for name in ("remix", "mixup"):
        method = method_of(name, [7, 7, 7])
        losses.append(method.loss(small_network(method), labelled(IMAGES, noise=[0.25]), clock()))
    assert torch.equal(*losses)


@pytest.mark.parametrize(("name", "given"), [("mixup", {}), ("remix", {}), ("balpoe", {"alpha": 0.4})])
def test_shares_follow_the_beta_distribution(name: str, given: dict[str, float]) -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (8 a + 4); 20,000 draws find both to 0.01."""
    drawn = method_of(name, COUNTS[0], **given).noise(20_000, np.random.default_rng(0))
    assert drawn.shape == (1, 20_000)
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.var() == pytest.approx(1 / (8 * given.get("alpha", 1.0) + 4), abs=0.01)


# CMO


def slow_box(noise: list[float], height: int, width: int) -> set[tuple[int, int]]:
    """The pixels of the CutMix box: its sides are sqrt(1 - share) of the image's, cut off at the edge."""
    cut = (1 - noise[0]) ** 0.5
    top, left = int(noise[1] * height), int(noise[2] * width)
    down, across = int(height * cut) // 2, int(width * cut) // 2
    rows = range(max(top - down, 0), min(top + down, height))
    return {(y, x) for y in rows for x in range(max(left - across, 0), min(left + across, width))}


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 8), (7, 12)])
def test_the_box_of_cutmix(height: int, width: int) -> None:
    for noise in np.random.default_rng(0).random((50, 3)).tolist():
        mask = patch_of(torch.tensor(noise, dtype=torch.float64), height, width)
        assert {(y, x) for y, x in mask.nonzero().tolist()} == slow_box(noise, height, width)


def cmo_loss(noise: list[float], progress: float = 0.5, name: str = "cmo", **given: float) -> tuple[Tensor, Any]:
    method = method_of(name, COUNTS[1], **given)
    net = small_network(method)
    background_and_patch = torch.cat([IMAGES, IMAGES.flip(0)])
    batch = labelled(background_and_patch, ("background", "patch"), noise)
    batch.labels[12:] = torch.tensor(LABELS).roll(5)
    return method.loss(net, batch, clock(progress)), net


def test_cmo_pastes_a_patch_and_shares_the_label_by_area() -> None:
    noise = [0.3, 0.5, 0.7, 0.1]
    loss, net = cmo_loss(noise)
    images, box = IMAGES.clone(), slow_box(noise, 4, 4)
    assert 0 < len(box) < 16
    for i in range(12):
        for y, x in box:
            images[i, 0, y, x] = IMAGES[11 - i, 0, y, x]
    logits, area = net(images), len(box) / 16
    pasted = [LABELS[i - 5] for i in range(12)]
    losses = []
    for row, y, other in zip(logits, LABELS, pasted, strict=True):
        losses.append(-(1 - area) * log_softmax(row, y) - area * log_softmax(row, other))
    assert_same(loss, mean(losses), list(net.parameters()), 1e-6)


def pasted_logits(net: Any, noise: list[float]) -> tuple[Tensor, float, list[int]]:
    """Logits of the images with patches, the share of the patch, and its labels."""
    images, box = IMAGES.clone(), slow_box(noise, 4, 4)
    for y, x in box:
        images[:, 0, y, x] = IMAGES.flip(0)[:, 0, y, x]
    return net(images), len(box) / 16, [LABELS[i - 5] for i in range(12)]


def test_cmo_with_balanced_softmax() -> None:
    noise = [0.3, 0.5, 0.7, 0.1]
    loss, net = cmo_loss(noise, name="cmo_balanced_softmax")
    logits, area, pasted = pasted_logits(net, noise)
    losses = []
    for row, own, other in zip(logits, LABELS, pasted, strict=True):
        for share, y in ((1 - area, own), (area, other)):
            weights = [n * z.exp() for n, z in zip(COUNTS[1], row, strict=True)]
            losses.append(-share * (weights[y] / sum(weights)).log())
    assert_same(loss, torch.stack(losses).sum() / 12, list(net.parameters()), 1e-6)


@pytest.mark.parametrize("progress", [0.5, 0.9])
def test_cmo_with_ldam_and_deferred_weights(progress: float) -> None:
    noise = [0.3, 0.5, 0.7, 0.1]
    loss, net = cmo_loss(noise, progress, name="cmo_ldam_drw")
    logits, area, pasted = pasted_logits(net, noise)
    margins = [0.5 * (n / min(COUNTS[1])) ** -0.25 for n in COUNTS[1]]
    weights = effective_number(COUNTS[1]) if progress >= 0.8 else [1.0] * 3
    total = torch.zeros(())
    for share, labels in ((1 - area, LABELS), (area, pasted)):
        losses = []
        for row, y in zip(logits, labels, strict=True):
            own = torch.stack([30 * (z - margins[y] * (j == y)) for j, z in enumerate(row)])
            losses.append(-log_softmax(own, y))
        total = total + share * mean(losses, [weights[y] for y in labels])
    assert_same(loss, total, list(net.parameters()), 1e-5)


# GLMC


def slow_glmc_box(noise: list[float], height: int, width: int) -> set[tuple[int, int]]:
    """As in the authors' code: sides are rounded up, then halved."""
    cut = (1 - noise[0]) ** 0.5
    down, across = math.ceil(height * cut) // 2, math.ceil(width * cut) // 2
    top, left = int(noise[1] * height), int(noise[2] * width)
    rows = range(max(top - down, 0), min(top + down, height))
    return {(y, x) for y in rows for x in range(max(left - across, 0), min(left + across, width))}


def test_the_box_of_glmc() -> None:
    for noise in np.random.default_rng(0).random((50, 3)).tolist():
        mask = formula("glmc", "patch")(torch.tensor(noise, dtype=torch.float64), 7, 12)
        assert {(y, x) for y, x in mask.nonzero().tolist()} == slow_glmc_box(noise, 7, 12)


@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_glmc_classifies_both_mixtures_and_makes_them_agree(progress: float) -> None:
    counts, noise = COUNTS[0], [0.25, 0.5, 0.6]
    method = method_of("glmc", counts)
    net, images = small_network(method).float(), random(48, 1, 4, 4).float()
    batch = labelled(images, ("image", "view", "partner", "other"), noise)
    batch.labels[24:] = torch.tensor(LABELS).roll(5).repeat(2)
    image, view, partner, other = images.chunk(4)
    for y, x in slow_glmc_box(noise, 4, 4):
        view = view.clone()
        view[:, :, y, x] = other[:, :, y, x]
    raw = [n**-1.2 for n in counts]
    weights = [3 * w / sum(raw) for w in raw]
    total, projected = torch.zeros(()), []
    for mixture in (0.25 * image + 0.75 * partner, view):
        h = net.features(mixture)
        projected.append(net.heads["projection"](h))
        for i in range(12):
            for part, y in ((0.25, LABELS[i]), (0.75, LABELS[i - 5])):
                plain, main = (log_softmax(net.heads[name](h[i]), y) for name in ("plain", "main"))
                total = total - part * ((1 - progress**2) * plain + progress**2 * weights[y] * main) / 12
    for one, of in ((0, 1), (1, 0)):
        p, z = net.heads["prediction"](projected[one]), projected[of].detach()
        total = total - 4 * mean([a @ b / a.norm() / b.norm() for a, b in zip(p, z, strict=True)])
    assert_same(method.loss(net, batch, clock(progress)), total, list(net.parameters()), 1e-4, of_gradient=1e-3)


@pytest.mark.parametrize(
    ("last", "progress", "given"),
    [(0.0, 0.5, {"probability": 0.0}), (0.6, 0.5, {}), (0.1, 0.01, {}), (0.1, 0.99, {})],
    ids=["never", "not this time", "too early", "too late"],
)
def test_cmo_that_does_not_paste_is_cross_entropy(last: float, progress: float, given: dict[str, float]) -> None:
    loss, net = cmo_loss([0.3, 0.5, 0.7, last], progress, **given)
    assert_same(loss, F.cross_entropy(net(IMAGES), torch.tensor(LABELS)), list(net.parameters()))


def test_m2m_replaces_images_by_translated_ones() -> None:
    """Image by image: the source, a random start, ten steps of length 0.1 in pixels, and the two rejections."""
    counts, draws = [120, 30, 7], np.random.default_rng(3).random((4, 12))
    draws[0] = [0.99, *[0.5] * 7, 0.0, 0.5, 0.5, 0.5]  # image 8 stays
    draws[2, :6] = [*[0.5] * 5, 0.99999]  # the result for image 5 is not used
    method = method_of("m2m", counts, beta=0.9, weight=0.3, gamma=0.55)
    net, helper = small_network(method, seed=5).float(), small_network(method, seed=6).float()
    net.remember(method.build_memory(helper, torch.tensor(counts)))
    mean_, std = torch.tensor([0.4]).view(1, 1, 1), torch.tensor([0.2]).view(1, 1, 1)
    images = (torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - mean_) / std
    batch = Batch(images, torch.tensor(LABELS), ("main",), torch.tensor(draws).float(), mean=mean_, std=std)
    start = small_noise(batch.noise[3], draws_wanted(counts, draws[0]), images.shape)
    expected, replaced = [], []
    for i, y in enumerate(LABELS):
        likely = [1 - 0.9 ** max(0, counts[k] - counts[y]) for k in LABELS]
        points = np.cumsum(likely)
        source = next((j for j, p in enumerate(points) if p > draws[1, i] * points[-1]), 11)
        pixels = (images[source] * std + mean_ + start[i]).clamp(0, 1)
        for _ in range(10):
            pixels = pixels.detach().requires_grad_()
            seen = (pixels[None] - mean_) / std
            energy = -log_softmax(helper(seen)[0], y) + 0.3 * net(seen)[0, LABELS[source]]
            (slope,) = torch.autograd.grad(energy, pixels)
            pixels = (pixels - 0.1 * slope / slope.norm()).clamp(0, 1)
        sure = log_softmax(helper((pixels[None] - mean_) / std)[0], y).exp().item() >= 0.55
        use = draws[0, i] >= counts[y] / 120 and draws[2, i] < likely[source] and sure
        replaced.append(use)
        expected.append(((pixels - mean_) / std).detach() if use else images[i])
    assert [i for i, use in enumerate(replaced) if use] == [1]  # for images 2 and 7, the helper is not sure
    found = method.replaced(net, batch)
    assert torch.allclose(found, torch.stack(expected), atol=1e-4)
    slow = mean([-log_softmax(net(image[None])[0], y) for image, y in zip(expected, LABELS, strict=True)])
    assert_same(method.with_translated(net, batch, clock(0.9)), slow, list(net.parameters()), 1e-4, of_gradient=1e-3)


def draws_wanted(counts: list[int], drawn: Any) -> Tensor:
    """Which images are to be replaced."""
    return torch.tensor([u >= counts[y] / max(counts) for u, y in zip(drawn, LABELS, strict=True)])


def test_the_noise_that_a_translation_starts_from_is_small_and_on_the_chosen_images() -> None:
    chosen = torch.arange(64) % 2 == 0
    noise = small_noise(torch.rand(64), chosen, (64, 3, 8, 8))
    assert torch.allclose(noise.square().sum((0, 2, 3)).sqrt(), torch.full((3,), 0.5), atol=1e-5)
    assert ((noise != 0).any(3).any(2).any(1) == chosen).all()
    assert abs(noise.mean()) < 0.1 * noise.std()


def test_m2m_is_cross_entropy_where_nothing_is_replaced() -> None:
    method = method_of("m2m", COUNTS[2])  # classes of the same size
    net = small_network(method).float()
    net.remember(method.build_memory(net, torch.tensor(COUNTS[2])))
    batch = labelled(IMAGES.float(), noise=[0.99, 0.5, 0.0, 0.5])
    usual = F.cross_entropy(net(IMAGES.float()), torch.tensor(LABELS))
    assert_same(method.with_translated(net, batch, clock(0.9)), usual, list(net.parameters()), 1e-5)
