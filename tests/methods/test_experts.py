"""Methods with several branches, and balanced contrastive learning."""

import math
from collections.abc import Iterable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import InputError, Network
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

SHIFTED = ("ensemble_balanced_softmax", "sade", "balpoe")


def shifts(name: str, counts: list[int]) -> list[list[float]]:
    """What each of the three experts adds to its logits."""
    log_prior = [math.log(n / sum(counts)) for n in counts]
    by_size = sorted(range(len(counts)), key=lambda j: counts[j])
    inverse = [0.0] * len(counts)
    for rank, j in enumerate(by_size):
        inverse[j] = log_prior[by_size[-1 - rank]]
    return {
        "ensemble_balanced_softmax": [log_prior] * 3,
        "sade": [[0.0] * len(counts), log_prior, [p - 2 * r for p, r in zip(log_prior, inverse, strict=True)]],
        "balpoe": [[tau * p for p in log_prior] for tau in (0, 1, 2)],
    }[name]


def slow_shifted(name: str, logits: Tensor, counts: list[int], share: float) -> Tensor:
    """The sum over experts of their cross-entropy with shifted logits; for balpoe the mean over experts, mixed.

    SADE and BalPoE multiply the cosines of their heads by 30, as in their authors' code.
    """
    scale, total = 30 if name in ("sade", "balpoe") else 1, torch.zeros((), dtype=torch.float64)
    for expert, shift in zip(logits, shifts(name, counts), strict=True):
        losses = []
        for i, row in enumerate(scale * expert + torch.tensor(shift, dtype=torch.float64)):
            own, partner = log_softmax(row, LABELS[i]), log_softmax(row, LABELS[i - 1])
            losses.append(-share * own - (1 - share) * partner)
        total = total + mean(losses)
    return total / 3 if name == "balpoe" else total


@pytest.mark.parametrize("counts", [*COUNTS, [7, 120, 30]], ids=str)
@pytest.mark.parametrize("name", SHIFTED)
def test_experts_with_shifted_logits(name: str, counts: list[int]) -> None:
    """In fp32, and in bf16 given the same logits, to 1e-5; bf16 gradients have 8 bits."""
    share = 0.25 if name == "balpoe" else 1.0
    for dtype, of_gradient in ((torch.float32, 2e-5), (torch.bfloat16, 2**-8)):
        logits = random(3, 12, 3).tanh().to(dtype).requires_grad_()
        batch = labelled(random(12, 1, 4, 4), noise=[share])
        loss = method_of(name, counts).loss(Answers(logits), batch, clock())
        slow = slow_shifted(name, logits.double(), counts, share)
        assert_same(loss, slow, [logits], 1e-5, of_gradient)


@pytest.mark.parametrize("name", [*SHIFTED, "ride", "mdcs"])
def test_experts_predict_with_their_mean_logits(name: str) -> None:
    method = method_of(name, COUNTS[0])
    net, images = small_network(method), random(4, 1, 4, 4)
    features = net.features(images)
    logits = [head(features[:, k]) for k, head in enumerate(net.heads.values())]
    scale = 1 if name == "ensemble_balanced_softmax" else 30
    assert torch.allclose(method.predict(net, images), scale * (logits[0] + logits[1] + logits[2]) / 3)


def test_the_reversed_prior_of_the_reversed_prior_is_the_prior() -> None:
    reversed_prior = formula("sade", "reversed_prior")
    prior = torch.tensor([0.1, 0.6, 0.25, 0.05])
    assert reversed_prior(prior).tolist() == pytest.approx([0.25, 0.05, 0.1, 0.6])
    assert torch.equal(reversed_prior(reversed_prior(prior)), prior)


# RIDE


def slow_divergence(logits: Tensor, temperatures: list[float]) -> Tensor:
    """Sum over experts of KL(p_mean || p_k) at class temperatures; the gradient through the mean logits cancels."""
    at = torch.tensor(temperatures, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for expert in logits:
        rows = []
        for i, row in enumerate(expert):
            centre = sum(other[i] for other in logits).detach() / len(logits) / at
            kl = torch.zeros((), dtype=torch.float64)
            for j in range(len(row)):
                log_mean = log_softmax(centre, j)
                kl = kl + torch.exp(log_mean) * (log_mean - log_softmax(row / at, j))
            rows.append(kl)
        total = total + mean(rows)
    return total


@pytest.mark.parametrize("temperatures", [[1.0, 1.0, 1.0], [1.0, 0.8, 0.7]])
def test_the_divergence_of_experts_from_their_mean(temperatures: list[float]) -> None:
    logits = random(3, 12, 3).requires_grad_()
    at = torch.tensor(temperatures, dtype=torch.float64)
    found = formula("ride", "divergence_from_mean")(logits, at)
    assert_same(found, slow_divergence(logits, temperatures), [logits])


def test_identical_experts_do_not_diverge() -> None:
    logits = random(1, 12, 3).expand(3, -1, -1)
    found = formula("ride", "divergence_from_mean")(logits, torch.tensor([1.0, 0.9, 0.8]))
    assert found.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("progress", [0.79, 0.8])
def test_ride(counts: list[int], progress: float) -> None:
    cosines = random(3, 12, 3).tanh().float().requires_grad_()
    loss = method_of("ride", counts).loss(Answers(cosines), labelled(), clock(progress))
    late, given = progress >= 0.8, cosines.double()
    weights = effective_number(counts) if late else [1.0] * 3
    raw = [0.05 * n / (sum(counts) / 3) + 0.95 for n in counts]
    temperatures = [t / max(raw) for t in raw] if late else [1.0] * 3
    margins = [0.5 * n**-0.25 / max(m**-0.25 for m in counts) for n in counts]
    slow = -0.45 * (sum(temperatures) / 3) ** 2 * slow_divergence(30 * given, temperatures)
    for expert in given:
        losses = []
        for row, y in zip(expert, LABELS, strict=True):
            z = torch.stack([30 * (c - margins[y] if j == y else c) for j, c in enumerate(row)])
            losses.append(-log_softmax(z, y))
        slow = slow + mean(losses, [weights[y] for y in LABELS])
    assert_same(loss, slow, [cosines], 1e-5, of_gradient=1e-4)


# ResLT


class Maps(nn.Module):
    """A backbone whose last feature map is [B, 2, 4, 4]: the images times 1 and 3."""

    num_features = 2

    def forward_features(self, images: Tensor) -> Tensor:
        return torch.cat([images, 3 * images], dim=1)


@pytest.mark.parametrize(("counts", "share"), [(COUNTS[0], 0.5), ([7, 120, 30], 0.5), (COUNTS[2], 0.99)], ids=str)
def test_reslt(counts: list[int], share: float) -> None:
    method = method_of("reslt", counts, alpha=share, medium_from=0.4, few_from=0.7)
    torch.manual_seed(0)
    net = Network(method.rebuild(Maps(), 3), {"main": method.build_head("main", 2, 3)}).double()
    for k, norm in enumerate(net.backbone.norms):
        nn.init.constant_(norm.weight, 0.5 + k)
        nn.init.constant_(norm.bias, 0.1 * k)
    images = random(12, 1, 4, 4)
    loss, maps = method.loss(net, labelled(images), clock()), Maps().forward_features(images)
    by_size = sorted(range(3), key=lambda j: -counts[j])
    members = [set(by_size), set(by_size[1:]), set(by_size[2:])]
    weight, bias = net.heads["main"].weight, net.heads["main"].bias
    branches = []
    for norm in net.backbone.norms:
        spread = (maps.var(dim=(0, 2, 3), unbiased=False) + 1e-5).sqrt()
        normal = (maps - maps.mean(dim=(0, 2, 3))[:, None, None]) / spread[:, None, None]
        pooled = (norm.weight[:, None, None] * normal + norm.bias[:, None, None]).mean(dim=(2, 3))
        branches.append(pooled @ weight.T + bias)
    fused = mean([-log_softmax(row, y) for row, y in zip(sum(branches, torch.zeros(1)), LABELS, strict=True)])
    own = [
        -log_softmax(b[i], y) for b, m in zip(branches, members, strict=True) for i, y in enumerate(LABELS) if y in m
    ]
    assert_same(loss, (1 - share) * fused + share * mean(own), list(net.parameters()), 1e-5, of_gradient=1e-4)
    assert torch.allclose(method.predict(net, images), branches[0] + branches[1] + branches[2])


def test_reslt_needs_maps_of_features() -> None:
    class Tokens(Maps):
        def forward_features(self, images: Tensor) -> Tensor:
            return images.flatten(2).transpose(1, 2)

    with pytest.raises(InputError, match="reslt normalises maps of features"):
        method_of("reslt", COUNTS[0]).rebuild(Tokens(), 3)(random(2, 1, 4, 4))


# MDCS


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize(("progress", "grown"), [(0.0, 0.05), (0.02, 0.45), (0.5, 1.0)])
def test_mdcs(counts: list[int], progress: float, grown: float) -> None:
    cosines = random(3, 24, 3).tanh().mul(0.2).float().requires_grad_()
    batch = labelled(random(24, 1, 4, 4), ("weak", "strong"))
    loss = method_of("mdcs", counts).loss(Answers(cosines), batch, clock(progress))
    total, recognised = torch.zeros((), dtype=torch.float64), []
    for tau, expert in zip((-0.5, 1.0, 2.5), cosines.double(), strict=True):
        rows = 30 * expert + tau * torch.tensor(counts).log()
        total = total + mean([-log_softmax(row, y) for row, y in zip(rows, LABELS * 2, strict=True)])
        imitated = []
        for weak, strong, y in zip(rows[:12].detach(), rows[12:], LABELS, strict=True):
            if weak.argmax() == y:
                log_p = [(log_softmax(weak, j), log_softmax(strong, j)) for j in range(3)]
                imitated.append(sum((t.exp() * (t - s) for t, s in log_p), torch.zeros(())))
        recognised.append(len(imitated))
        if imitated:
            total = total + 0.6 * grown * mean(imitated)
    assert 0 < sum(recognised) < 36
    assert_same(loss, total, [cosines], 1e-5, of_gradient=1e-4)


def test_an_expert_that_recognises_no_weak_view_learns_nothing_from_itself() -> None:
    weak, strong = random(2, 3, 4), random(2, 3, 4, seed=1).requires_grad_()
    wrong = (weak.argmax(2)[0] + 1) % 4
    found = formula("mdcs", "self_distillation")(weak[:1], strong[:1], wrong)
    assert found.item() == 0
    assert torch.autograd.grad(found, strong)[0].abs().max() == 0


# BBN


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.75])
def test_bbn(progress: float) -> None:
    method = method_of("bbn", COUNTS[0])
    net, images = small_network(method), random(24, 1, 4, 4)
    batch = labelled(images, ("conventional", "reversed"))
    batch.labels[12:] = torch.tensor(LABELS).roll(5)
    alpha, losses = 1 - progress**2, []
    weight, bias = net.heads["main"].get_parameter("weight"), net.heads["main"].get_parameter("bias")
    for i, y in enumerate(LABELS):
        one, other = net.tail(0, images[[i]])[0], net.tail(1, images[[12 + i]])[0]
        z = weight @ (2 * torch.cat([alpha * one, (1 - alpha) * other])) + bias
        losses.append(-alpha * log_softmax(z, y) - (1 - alpha) * log_softmax(z, LABELS[i - 5]))
    assert_same(method.loss(net, batch, clock(progress)), mean(losses), list(net.parameters()))


def test_bbn_begins_with_the_conventional_branch_alone() -> None:
    method = method_of("bbn", COUNTS[0])
    net, images = small_network(method), random(24, 1, 4, 4)
    losses = []
    for reversed_images in (images[12:], random(12, 1, 4, 4, seed=7)):
        batch = labelled(torch.cat([images[:12], reversed_images]), ("conventional", "reversed"))
        losses.append([method.loss(net, batch, clock(p)).item() for p in (0.0, 0.5)])
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_bbn_weighs_both_branches_alike_at_test() -> None:
    method = method_of("bbn", COUNTS[0])
    net, images = small_network(method), random(4, 1, 4, 4)
    features = torch.cat([2 * 0.5 * net.tail(0, images), 2 * 0.5 * net.tail(1, images)], dim=1)
    assert torch.allclose(method.predict(net, images), net.heads["main"](features))


# BCL


def slow_contrastive(points: Tensor, labels: list[int], prototypes: Tensor, temperature: float) -> Tensor:
    """Positives are the other points of the class and its prototype; the denominator averages within each class."""
    everyone = [*zip(points, labels, strict=True), *zip(prototypes, range(len(prototypes)), strict=True)]
    losses = []
    for i, point in enumerate(points):
        others = [(x, y) for k, (x, y) in enumerate(everyone) if k != i]
        denominator = torch.zeros((), dtype=torch.float64)
        for c in range(len(prototypes)):
            members = [torch.exp(point @ x / temperature) for x, y in others if y == c]
            denominator = denominator + mean(members)
        same = [x for x, y in others if y == labels[i]]
        losses.append(-mean([torch.log(torch.exp(point @ x / temperature) / denominator) for x in same]))
    return mean(losses)


@pytest.mark.parametrize("labels", [LABELS, [0] * 12, [0, 1, 2]], ids=["as drawn", "one class", "one image a class"])
def test_balanced_contrastive(labels: list[int]) -> None:
    raw, centres = random(len(labels), 6).requires_grad_(), random(3, 6, seed=1).requires_grad_()
    points, prototypes = F.normalize(raw), F.normalize(centres)
    found = formula("bcl", "balanced_contrastive")(points, torch.tensor(labels), prototypes, 0.1)
    assert_same(found, slow_contrastive(points, labels, prototypes, 0.1), [raw, centres], 1e-8)
    single = formula("bcl", "balanced_contrastive")(points.float(), torch.tensor(labels), prototypes.float(), 0.1)
    assert single.item() == pytest.approx(found.item(), rel=1e-4)


def test_a_point_alone_with_the_prototype_of_its_only_class_costs_nothing() -> None:
    point = F.normalize(random(1, 6))
    found = formula("bcl", "balanced_contrastive")(point, torch.tensor([0]), F.normalize(random(1, 6, seed=1)), 0.1)
    assert found.item() == pytest.approx(0, abs=1e-12)


def test_bcl_classifies_the_first_view_and_contrasts_the_other_two() -> None:
    """The projection heads normalise all three views together, as in the authors' code."""
    method = method_of("bcl", COUNTS[0], weight=0.2, temperature=0.5)
    net, images = small_network(method).float().train(), random(36, 1, 4, 4).float()
    features, weight = net.features(images), net.heads["main"].get_parameter("weight")
    log_prior = torch.tensor([math.log(n / sum(COUNTS[0])) for n in COUNTS[0]])
    losses = []
    for x, y in zip(features[:12], LABELS, strict=True):
        cosines = torch.stack([(x @ w) / (x.norm() * w.norm()) for w in weight])
        losses.append(-log_softmax(30 * cosines + log_prior, y))

    def projected(head: str, given: Tensor) -> Tensor:
        first, norm, _, last = cast(Iterable[Any], net.heads[head])
        hidden = first(given)
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + norm.eps).sqrt()
        return F.normalize(last((hidden * norm.weight + norm.bias).clamp_min(0))).double()

    points, prototypes = projected("points", features)[12:], projected("prototypes", weight)
    slow = mean(losses) + 0.2 * slow_contrastive(points, LABELS * 2, prototypes, 0.5)
    loss = method.loss(net, labelled(images, ("classified", "first", "second")), clock())
    assert_same(loss, slow, list(net.parameters()), 1e-5, of_gradient=1e-4)
    assert torch.equal(method.predict(net.eval(), images), 30 * net.heads["main"](net.features(images)))
