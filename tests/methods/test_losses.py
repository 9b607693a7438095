"""Every loss of one head against its formula in plain loops, in value and gradient."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.method.functional import (
    effective_number_weights,
    focal_loss,
    label_aware_smoothing,
    ldam_margins,
    smoothed_cross_entropy,
    spread,
    subtract_margin,
)
from tests.methods.given import (
    COUNTS,
    LABELS,
    Answers,
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

Slow = Callable[[Tensor, list[int], float], Tensor]
"""(logits [B, C], class sizes, progress) -> the loss of the twelve labels."""


def cross_entropy(z: Tensor, counts: list[int], progress: float) -> Tensor:
    return mean([-log_softmax(row, y) for row, y in zip(z, LABELS, strict=True)])


def weighted(z: Tensor, weights: list[float]) -> Tensor:
    """The weighted mean: it divides by the weights of the batch."""
    return mean([-log_softmax(row, y) for row, y in zip(z, LABELS, strict=True)], [weights[y] for y in LABELS])


def inverse_frequency(z: Tensor, counts: list[int], progress: float) -> Tensor:
    total = sum(1 / n for n in counts)
    return weighted(z, [len(counts) / n / total for n in counts])


def class_balanced(z: Tensor, counts: list[int], progress: float) -> Tensor:
    return weighted(z, effective_number(counts))


def deferred(z: Tensor, counts: list[int], progress: float) -> Tensor:
    return weighted(z, effective_number(counts) if progress >= 0.8 else [1.0] * len(counts))


def focal(z: Tensor, counts: list[int], progress: float, gamma: float = 1.0) -> Tensor:
    log_p = [log_softmax(row, y) for row, y in zip(z, LABELS, strict=True)]
    return mean([-((1 - torch.exp(v)) ** gamma) * v for v in log_p])


def class_balanced_focal(z: Tensor, counts: list[int], progress: float) -> Tensor:
    weights, log_p = effective_number(counts), [log_softmax(row, y) for row, y in zip(z, LABELS, strict=True)]
    return mean([-weights[y] * (1 - torch.exp(v)) * v for v, y in zip(log_p, LABELS, strict=True)])


def margins(counts: list[int]) -> list[float]:
    largest = max(n**-0.25 for n in counts)
    return [0.5 * n**-0.25 / largest for n in counts]


def with_margin(z: Tensor, counts: list[int]) -> Tensor:
    rows = []
    for row, y in zip(z, LABELS, strict=True):
        rows.append(torch.stack([30 * (c - margins(counts)[y] if j == y else c) for j, c in enumerate(row)]))
    return torch.stack(rows)


def ldam(z: Tensor, counts: list[int], progress: float) -> Tensor:
    return cross_entropy(with_margin(z, counts), counts, progress)


def ldam_drw(z: Tensor, counts: list[int], progress: float) -> Tensor:
    return deferred(with_margin(z, counts), counts, progress)


def balanced_softmax(z: Tensor, counts: list[int], progress: float) -> Tensor:
    losses = []
    for row, y in zip(z, LABELS, strict=True):
        total = sum((n * torch.exp(v) for n, v in zip(counts, row, strict=True)), torch.zeros((), dtype=z.dtype))
        losses.append(-torch.log(counts[y] * torch.exp(row[y]) / total))
    return mean(losses)


def logit_adjustment(z: Tensor, counts: list[int], progress: float) -> Tensor:
    priors = [n / sum(counts) for n in counts]
    rows = [torch.stack([v + math.log(p) for v, p in zip(row, priors, strict=True)]) for row in z]
    return cross_entropy(torch.stack(rows), counts, progress)


def cdt(z: Tensor, counts: list[int], progress: float) -> Tensor:
    factors = [(n / max(counts)) ** 0.2 for n in counts]
    rows = [torch.stack([v * f for v, f in zip(row, factors, strict=True)]) for row in z]
    return cross_entropy(torch.stack(rows), counts, progress)


def to_targets(z: Tensor, targets: Callable[[int], list[float]]) -> Tensor:
    """Cross-entropy to the distribution ``targets(y)``."""
    losses = []
    for row, y in zip(z, LABELS, strict=True):
        losses.append(-mean([log_softmax(row, j) for j in range(len(row))], targets(y)))
    return mean(losses)


def label_smoothing(z: Tensor, counts: list[int], progress: float) -> Tensor:
    c = len(counts)
    return to_targets(z, lambda y: [0.9 + 0.1 / c if j == y else 0.1 / c for j in range(c)])


def label_aware(z: Tensor, counts: list[int], progress: float) -> Tensor:
    c, low, high = len(counts), min(counts), max(counts)

    def targets(y: int) -> list[float]:
        t = (counts[y] - low) / (high - low) if high > low else 1.0
        e = 0.1 + (0.4 - 0.1) * math.sin(math.pi * t / 2)
        return [1 - e + e / c if j == y else e / c for j in range(c)]

    return to_targets(z, targets)


def binary_of_softmax(z: Tensor, counts: list[int], progress: float) -> Tensor:
    """The loss of stage 2 in the code of Alshammari et al.: a binary cross-entropy for each class of the softmax."""
    weights, losses = effective_number(counts), []
    for row, y in zip(z, LABELS, strict=True):
        for j in range(len(row)):
            p = torch.exp(log_softmax(row, j))
            losses.append(-weights[y] * (torch.log(p) if j == y else torch.log(1 - p)))
    return mean(losses)


def vector_scaled(z: Tensor, counts: list[int], progress: float) -> Tensor:
    rows = []
    for row in z:
        scaled = [v * (n / max(counts)) ** 0.2 for v, n in zip(row, counts, strict=True)]
        rows.append(torch.stack([v + 1.2 * math.log(n / sum(counts)) for v, n in zip(scaled, counts, strict=True)]))
    return cross_entropy(torch.stack(rows), counts, progress)


def disentangled(z: Tensor, counts: list[int], progress: float) -> Tensor:
    """The loss of Hong et al. for the uniform target, with the mean over the batch in place of the expectation."""
    priors, total = [n / sum(counts) for n in counts], torch.zeros((), dtype=z.dtype)
    for c, prior in enumerate(priors):
        inside = mean([row[c] for row, y in zip(z, LABELS, strict=True) if y == c])
        outside = torch.log(mean([torch.exp(row[c]) / prior / len(counts) for row in z]))
        total = total - prior * (inside - outside - 0.1 * outside**2)
    return logit_adjustment(z, counts, progress) + 0.1 * total


SLOW: dict[str, Slow] = {
    "vs": vector_scaled,
    "lade": disentangled,
    **dict.fromkeys(("ce", "ce_drs", "class_balanced_sampling", "square_root_sampling"), cross_entropy),
    **dict.fromkeys(("progressive_sampling", "crt", "crt_mixup", "lws", "lws_mixup"), cross_entropy),
    "weighted_ce": inverse_frequency,
    "cb_ce": class_balanced,
    "weight_balancing": binary_of_softmax,
    "ce_drw": deferred,
    "focal": focal,
    "cb_focal": class_balanced_focal,
    "ldam": ldam,
    "ldam_drw": ldam_drw,
    "balanced_softmax": balanced_softmax,
    "logit_adjustment": logit_adjustment,
    "cdt": cdt,
    "label_smoothing": label_smoothing,
    "label_aware_smoothing": label_aware,
    "mislas": label_aware,
}
COSINE = ("ldam", "ldam_drw")


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("name", SLOW)
def test_the_loss_is_the_formula_of_its_paper(name: str, counts: list[int]) -> None:
    """In fp32 and, given the same logits, in bf16: both to 1e-5; bf16 gradients have 8 bits, so to 2 ** -8."""
    method = method_of(name, counts)
    for precision, of_gradient in ((torch.float32, 2e-5), (torch.bfloat16, 2**-8)):
        given = random(12, 3) if name not in COSINE else random(12, 3).tanh()
        logits = given.to(precision).requires_grad_()
        for progress in (0.0, 0.79, 0.8):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = method.loss(Answers(logits), labelled(), clock(progress))
            slow = SLOW[name](logits.double(), counts, progress)
            assert_same(loss, slow, [logits], tolerance=1e-5, of_gradient=of_gradient)


def test_weight_balancing_begins_with_plain_cross_entropy() -> None:
    logits = random(12, 3).requires_grad_()
    loss = method_of("weight_balancing", COUNTS[0]).plain_loss(Answers(logits), labelled(), clock())
    assert_same(loss, cross_entropy(logits, COUNTS[0], 0.0), [logits])


# in double precision, the pure functions


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss(gamma: float) -> None:
    logits = random(12, 3, scale=3).requires_grad_()
    assert_same(focal_loss(logits, torch.tensor(LABELS), gamma), focal(logits, [], 0.0, gamma), [logits])


def test_focal_loss_with_gamma_0_is_cross_entropy_and_stays_finite_when_sure() -> None:
    logits = random(12, 3).requires_grad_()
    assert_same(focal_loss(logits, torch.tensor(LABELS), 0.0), cross_entropy(logits, [], 0.0), [logits])
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal_loss(sure, torch.tensor([0]), 0.25).backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_losses_in_double_precision(counts: list[int]) -> None:
    logits, labels, n = random(12, 3).requires_grad_(), torch.tensor(LABELS), torch.tensor(counts).double()
    softmax = formula("balanced_softmax", "balanced_softmax")(logits, labels, n)
    assert_same(softmax, balanced_softmax(logits, counts, 0.0), [logits])
    smoothing = label_aware_smoothing(n, 0.4, 0.1)
    assert_same(smoothed_cross_entropy(logits, labels, smoothing), label_aware(logits, counts, 0.0), [logits])
    margin = F.cross_entropy(30 * subtract_margin(logits, labels, ldam_margins(n, 0.5)), labels)
    assert_same(margin, ldam(logits, counts, 0.0), [logits])
    scaled = F.cross_entropy(logits * formula("cdt", "temperatures")(n, 0.2), labels)
    assert_same(scaled, cdt(logits, counts, 0.0), [logits])


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_effective_number_weights(counts: list[int], beta: float) -> None:
    weights = effective_number_weights(torch.tensor(counts, dtype=torch.float64), beta)
    assert weights.tolist() == pytest.approx(effective_number(counts, beta), rel=1e-9)
    single = effective_number_weights(torch.tensor(counts, dtype=torch.float32), beta)
    assert single.tolist() == pytest.approx(effective_number(counts, beta), rel=2e-4)  # beta itself has 24 bits


def test_effective_number_weights_tend_to_inverse_frequency() -> None:
    counts = torch.tensor([5000.0, 50.0, 1.0], dtype=torch.float64)
    inverse = formula("weighted_ce", "frequency_weights")(counts, 1.0)
    assert torch.allclose(effective_number_weights(counts, 1 - 1e-12), inverse, rtol=1e-6)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_frequency_weights(exponent: float) -> None:
    weights = formula("weighted_ce", "frequency_weights")(torch.tensor([5000.0, 50.0, 1.0]), exponent)
    raw = [n**-exponent for n in (5000, 50, 1)]
    assert weights.tolist() == pytest.approx([3 * w / sum(raw) for w in raw])


# what must coincide


def loss_of(name: str, logits: Tensor, progress: float = 0.0, counts: list[int] = COUNTS[1], **given: float) -> Tensor:
    loss: Tensor = method_of(name, counts, **given).loss(Answers(logits), labelled(), clock(progress))
    return loss


def test_balanced_softmax_is_logit_adjustment_with_tau_1() -> None:
    logits = random(12, 3).float().requires_grad_()
    assert_same(loss_of("balanced_softmax", logits), loss_of("logit_adjustment", logits), [logits], 1e-5)
    assert abs(loss_of("balanced_softmax", logits) - loss_of("logit_adjustment", logits, tau=1.5)) > 0.1


@pytest.mark.parametrize(
    ("name", "given", "scale"),
    [
        ("logit_adjustment", {"tau": 0.0}, 1),
        ("cdt", {"gamma": 0.0}, 1),
        ("vs", {"gamma": 0.0, "tau": 0.0}, 1),
        ("weighted_ce", {"exponent": 0.0}, 1),
        ("cb_ce", {"beta": 0.0}, 1),
        ("focal", {"gamma": 0.0}, 1),
        ("label_smoothing", {"epsilon": 0.0}, 1),
        ("label_aware_smoothing", {"head": 0.0, "tail": 0.0}, 1),
        ("ldam", {"max_margin": 0.0}, 30),
        ("ldam_drw", {"max_margin": 0.0}, 30),
    ],
)
def test_what_is_switched_off_leaves_cross_entropy(name: str, given: dict[str, float], scale: int) -> None:
    logits = random(12, 3).tanh().float().requires_grad_()
    assert_same(loss_of(name, logits, **given), F.cross_entropy(scale * logits, torch.tensor(LABELS)), [logits], 1e-5)


def test_vector_scaling_joins_logit_adjustment_and_temperatures() -> None:
    logits = random(12, 3).float().requires_grad_()
    assert_same(loss_of("vs", logits, gamma=0.0, tau=1.5), loss_of("logit_adjustment", logits, tau=1.5), [logits], 1e-5)
    assert_same(loss_of("vs", logits, gamma=0.3, tau=0.0), loss_of("cdt", logits, gamma=0.3), [logits], 1e-5)


@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_influence_balanced(progress: float) -> None:
    method, counts = method_of("influence_balanced", COUNTS[0]), COUNTS[0]
    net, images = small_network(method).float(), random(12, 1, 4, 4).float()
    weights, losses = [3 / n / sum(1 / m for m in counts) for n in counts], []
    features = net.features(images)
    for h, row, y in zip(features, net.heads["main"](features), LABELS, strict=True):
        apart = sum(abs(torch.exp(log_softmax(row, j)) - float(j == y)) for j in range(3))
        weight = weights[y] * 10 / (apart * h.abs().sum() + 0.001) if progress >= 0.5 else 1.0
        losses.append(-weight * log_softmax(row, y))
    loss = method.loss(net, labelled(images), clock(progress))
    assert_same(loss, mean(losses), list(net.parameters()), 1e-4)


def test_influence_balanced_makes_the_step_of_the_authors_at_a_rate_that_is_not_divided() -> None:
    """They divide the learning rate by 100 when the weights begin, with alpha = 1000."""
    steps = []
    for given, divided in (({}, 1), ({"alpha": 1000.0}, 100)):
        method = method_of("influence_balanced", COUNTS[0], **given)
        net = small_network(method).float()
        method.loss(net, labelled(random(12, 1, 4, 4).float()), clock(0.5)).backward()
        steps.append([value.grad / divided for value in net.parameters() if value.grad is not None])
    for one, other in zip(*steps, strict=True):
        assert torch.allclose(one, other, rtol=1e-4)


def hashed(noise: float, j: int) -> float:
    """A uniform number for an image and a class, in 64-bit arithmetic."""
    x = (int(noise * 2**24) * 1_000_003 + j + 1) % 2**64
    for factor in (0x2545F4914F6CDD1D, 0x369DEA0F31A53F85):
        x = (x ^ (x >> 32)) * factor % 2**64
    return ((x >> 41) + 0.5) / 2**23


def test_a_number_for_each_image_and_class_is_uniform_and_unlike_its_neighbours() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).random(2000)).float()
    found = spread(noise, 10)
    assert found[:3].tolist() == [pytest.approx([hashed(float(v), j) for j in range(10)]) for v in noise[:3]]
    assert torch.histc(found, 10, 0, 1).tolist() == pytest.approx([2000] * 10, rel=0.1)
    assert torch.corrcoef(found.T).fill_diagonal_(0).abs().max() < 0.1
    assert torch.corrcoef(torch.stack([found[:-1, 0], found[1:, 0]]))[0, 1].abs() < 0.1


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_seql_ignores_rare_classes_of_other_images(gamma: float) -> None:
    logits, noise = random(12, 3).float().requires_grad_(), 0.3125
    method = method_of("seql", COUNTS[0], gamma=gamma, threshold=0.2)  # the second and third of 120, 30, 7 are rare
    rows = []
    for row, y in zip(logits, LABELS, strict=True):
        ignored = [j > 0 and j != y and hashed(noise, j) < gamma for j in range(3)]
        kept = torch.stack([torch.exp(v) for v, out in zip(row, ignored, strict=True) if not out]).sum()
        rows.append(torch.log(kept) - row[y])
    loss = method.loss(Answers(logits), replace(labelled(), noise=torch.full((1, 12), noise)), clock())
    assert_same(loss, mean(rows), [logits], 1e-5)


def test_disalign_adds_scaled_and_shifted_logits_by_confidence() -> None:
    method, counts = method_of("disalign", COUNTS[0], rho=1.5), COUNTS[0]
    net, images = small_network(method).float(), random(12, 1, 4, 4).float()
    plain = net(images)
    align = net.heads["align"]
    scale, shift = align.get_parameter("scale"), align.get_parameter("shift")
    assert (scale.tolist(), shift.tolist()) == ([1, 1, 1], [0, 0, 0])
    assert align.get_parameter("confidence.weight")[0].tolist() == pytest.approx([0.1] * 5)
    assert torch.equal(method.predict(net, images).argmax(1), plain.argmax(1))
    with torch.no_grad():
        scale.copy_(torch.tensor([0.5, 1.5, 2.0]))
        shift.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    losses, features = [], net.features(images)
    for h, row, y in zip(features, plain, LABELS, strict=True):
        s = torch.sigmoid(align.get_submodule("confidence")(h))[0]
        aligned = torch.stack([(1 + s * a) * z + s * b for a, b, z in zip(scale, shift, row, strict=True)])
        losses.append(-log_softmax(aligned, y))
    weights = [(n / sum(counts)) ** -1.5 for n in counts]
    slow = mean(losses, [weights[y] for y in LABELS])
    assert_same(method.loss(net, labelled(images), clock()), slow, list(net.parameters()), 1e-5, of_gradient=1e-4)


@pytest.mark.parametrize("late", [False, True])
def test_gcl_lowers_cosines_by_a_cloud_that_is_larger_for_rare_classes(late: bool) -> None:
    method, counts, share = method_of("gcl", COUNTS[0]), COUNTS[0], 0.25
    net, images = small_network(method).float(), random(12, 1, 4, 4).float()
    batch = labelled(images, noise=[share, 0.3125, 0.8125])
    margin, scale = (0.1, 20) if late else (0.0, 30)
    cosines, parts = net(torch.stack([share * images[i] + (1 - share) * images[i - 1] for i in range(12)])), []
    for noise, part, shifted in ((0.3125, share, 0), (0.8125, 1 - share, 1)):
        losses = []
        for i, row in enumerate(cosines):
            y = LABELS[i - shifted]
            lowered = []
            for j, n in enumerate(counts):
                normal = abs(torch.distributions.Normal(0.0, 1 / 3).icdf(torch.tensor(hashed(noise, j))).item())
                rarity = math.log(max(counts) / n) / math.log(max(counts) / min(counts))
                lowered.append(scale * (row[j] - 0.5 * min(normal, 1) * rarity - (margin if j == y else 0)))
            log_p = log_softmax(torch.stack(lowered), y)
            losses.append(-(1 - log_p.detach().exp() if late else 1) * log_p)
        parts.append(part * mean(losses))
    loss = (method.late_loss if late else method.loss)(net, batch, clock())
    assert_same(loss, parts[0] + parts[1], list(net.parameters()), 1e-4, of_gradient=1e-3)


def test_the_second_stage_of_gcl_begins_with_a_tenth_of_its_rate_as_in_the_authors_code() -> None:
    """``adjust_learning_rate`` gives 0.1 * 0.1 * (1 + cos) to all groups but the first, which gets a tenth of it."""
    features, classifier = method_of("gcl", COUNTS[0]).stages()
    assert (features.lr, classifier.lr, classifier.schedule) == (None, pytest.approx(0.1 * 0.1 * 2 * 0.1), "cosine")
    assert (classifier.trains, classifier.new_heads, classifier.batch_norm) == ("heads", False, "eval")


def test_label_aware_smoothing_of_one_strength_is_label_smoothing() -> None:
    logits = random(12, 3).float().requires_grad_()
    usual = F.cross_entropy(logits, torch.tensor(LABELS), label_smoothing=0.3)
    assert_same(loss_of("label_aware_smoothing", logits, head=0.3, tail=0.3), usual, [logits], 1e-5)


def test_the_binary_cross_entropy_of_the_softmax_is_that_of_torch_and_stays_finite_when_sure() -> None:
    logits, weights = random(12, 3, scale=3).requires_grad_(), torch.tensor([0.5, 0.7, 1.8]).double()
    labels = torch.tensor(LABELS)
    found = formula("weight_balancing", "softmax_binary_cross_entropy")(logits, labels, weights)
    targets = F.one_hot(labels).double()
    assert_same(found, F.binary_cross_entropy(logits.softmax(1), targets, weights[labels, None]), [logits])
    sure = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    for label in range(3):
        loss = formula("weight_balancing", "softmax_binary_cross_entropy")(sure, torch.tensor([label]), weights.float())
        assert torch.autograd.grad(loss, sure)[0].isfinite().all()


def test_frequent_classes_are_smoothed_more() -> None:
    assert label_aware_smoothing(torch.tensor([100.0, 55.0, 10.0]), 0.4, 0.1).tolist() == pytest.approx(
        [0.4, 0.1 + 0.3 * math.sin(math.pi / 4), 0.1]
    )


def test_cosine_methods_predict_without_margin() -> None:
    cosines = random(12, 3).tanh()
    for name in COSINE:
        assert torch.equal(
            method_of(name, COUNTS[0], scale=7.0).predict(Answers(cosines), torch.zeros(12)), 7 * cosines
        )
