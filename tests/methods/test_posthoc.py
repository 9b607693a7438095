"""Classifiers, and what is done to them without training: tau-norm, logit adjustment, class means, MaxNorm."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ltbench.metrics import best_on
from ltbench.models.classifiers import CosineClassifier, ScaledClassifier
from tests.conftest import FAST, Answer
from tests.methods.given import COUNTS, LABELS, assert_same, formula, method_of, random, small_network

Cli = Callable[..., Answer]
FEATURES = random(12, 5, seed=3)
VAL = (random(40, 5, seed=4), torch.tensor([0] * 25 + [1] * 10 + [2] * 5))


def looked_at(split: str) -> tuple[Tensor, Tensor]:
    """Features and labels of the training and the validation images."""
    return (FEATURES, torch.tensor(LABELS)) if split == "train" else VAL


def without_validation(split: str) -> tuple[Tensor, Tensor]:
    raise AssertionError("validation images were asked for")


# classifiers


def test_the_cosine_classifier() -> None:
    head = CosineClassifier(5, 3).double()
    features = FEATURES.clone().requires_grad_()
    slow = torch.stack([x @ w / (x @ x).sqrt() / (w @ w).sqrt() for x in features for w in head.weight]).view(12, 3)
    assert_same((head(features) ** 3).sum(), (slow**3).sum(), [features, head.weight])


def test_the_scaled_classifier_scales_weight_and_bias() -> None:
    head = ScaledClassifier(5, 3).double()
    with torch.no_grad():
        head.log_scale.copy_(torch.tensor([0.3, 0.0, -2.0]))
    rows = []
    for x in FEATURES:
        rows += [torch.exp(head.log_scale[j]) * (head.weight[j] @ x + head.bias[j]) for j in range(3)]
    assert_same((head(FEATURES) ** 3).sum(), (torch.stack(rows) ** 3).sum(), list(head.parameters()))


def test_the_scaled_classifier_begins_as_the_linear_one() -> None:
    head = ScaledClassifier(5, 3).double()
    assert torch.equal(head(FEATURES), torch.nn.functional.linear(FEATURES, head.weight, head.bias))


# tau-norm


@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0, 2.0])
def test_tau_normalised(tau: float) -> None:
    weight = random(3, 5).requires_grad_()
    slow = torch.stack([w / (w @ w).sqrt() ** tau for w in weight])
    assert_same((formula("tau_norm", "tau_normalised")(weight, tau) ** 3).sum(), (slow**3).sum(), [weight])


def finished(name: str, step: str, features: Any = without_validation, **given: Any) -> tuple[Any, Tensor, Tensor]:
    """A network after the post-hoc step, and its classifier's weight and bias before."""
    method = method_of(name, COUNTS[0], **given)
    net = small_network(method)
    head = net.heads["main"]
    before = [head.get_parameter(p).detach().clone() for p in ("weight", "bias")]
    with torch.no_grad():
        getattr(method, step)(net, features)
    return net, before[0], before[1]


def test_tau_0_changes_nothing_but_the_bias_that_is_dropped() -> None:
    net, weight, bias = finished("tau_norm", "normalise", tau=0.0)
    assert bias.abs().min() > 0
    assert torch.equal(net.heads["main"].weight, weight)
    assert not net.heads["main"].bias.any()


def test_the_bias_can_be_kept() -> None:
    net, _, bias = finished("tau_norm", "normalise", bias="kept")
    assert torch.equal(net.heads["main"].bias, bias)
    assert net.heads["main"].weight.norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_tau_1_gives_every_class_the_length_1() -> None:
    net, _, _ = finished("tau_norm", "normalise")
    assert net.heads["main"].weight.norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def balanced_accuracy(score: Callable[[Tensor], list[float]]) -> float:
    """Mean recall over classes of the validation images."""
    hits, sizes = [0, 0, 0], [0, 0, 0]
    for x, y in zip(VAL[0], VAL[1].tolist(), strict=True):
        scores = score(x)
        hits[y] += scores.index(max(scores)) == y
        sizes[y] += 1
    return sum(h / n for h, n in zip(hits, sizes, strict=True)) / 3


@pytest.mark.parametrize("kept", [False, True])
def test_tau_norm_chooses_what_brute_force_finds_on_validation_images(kept: bool) -> None:
    given = {"choose": "val", "bias": "kept" if kept else "dropped"}
    net, weight, bias = finished("tau_norm", "normalise", looked_at, **given)

    def scores(tau: float) -> Callable[[Tensor], list[float]]:
        return lambda x: [
            float(w @ x) / float(w @ w) ** (tau / 2) + kept * float(b) for w, b in zip(weight, bias, strict=True)
        ]

    found = [balanced_accuracy(scores(k / 10)) for k in range(21)]
    best = found.index(max(found)) / 10
    assert min(found) < max(found)
    expected = torch.stack([w / (w @ w).sqrt() ** best for w in weight])
    assert torch.allclose(net.heads["main"].weight, expected)


# logit adjustment


LOG_PRIOR = [math.log(n / sum(COUNTS[0])) for n in COUNTS[0]]


@pytest.mark.parametrize("tau", [0.0, 1.0, 2.5])
def test_logit_adjustment_posthoc(tau: float) -> None:
    net, weight, bias = finished("logit_adjustment_posthoc", "adjust", tau=tau)
    logits = net.heads["main"](FEATURES)
    for x, z in zip(FEATURES, logits.tolist(), strict=True):
        assert z == pytest.approx([float(weight[j] @ x + bias[j]) - tau * LOG_PRIOR[j] for j in range(3)], abs=1e-6)


def test_logit_adjustment_posthoc_chooses_what_brute_force_finds_on_validation_images() -> None:
    net, weight, bias = finished("logit_adjustment_posthoc", "adjust", looked_at, choose="val")

    def scores(tau: float) -> Callable[[Tensor], list[float]]:
        return lambda x: [float(weight[j] @ x + bias[j]) - tau * LOG_PRIOR[j] for j in range(3)]

    found = [balanced_accuracy(scores(k / 10)) for k in range(31)]
    best = found.index(max(found)) / 10
    assert min(found) < max(found)
    expected = [float(b) - best * p for b, p in zip(bias, LOG_PRIOR, strict=True)]
    assert net.heads["main"].bias.tolist() == pytest.approx(expected, abs=1e-6)


def test_of_equally_good_candidates_the_first_is_taken() -> None:
    logits = random(12, 3)
    assert best_on(torch.tensor(LABELS), {0.3: logits, 0.1: 2 * logits, 0.2: 3 * logits}) == 0.3


@pytest.mark.parametrize("name", ["tau_norm", "logit_adjustment_posthoc"])
def test_choosing_on_validation_images_needs_some_and_says_so(ltbench: Cli, name: str) -> None:
    words = ("run", *FAST, "--methods", name, "--set", f"{name}.choose=val")
    answer = ltbench(*words)
    assert answer.status == 1
    failed = [line for line in answer.out.splitlines() if line.startswith("FAILED: ")]
    assert len(failed) == 1
    assert "validation images" in failed[0]
    assert "--set holdout=N" in failed[0]
    assert ltbench(*words, "--set", "holdout=5").status == 0


# nearest class mean


@pytest.mark.parametrize("metric", ["cl2n", "l2", "cosine"])
def test_nearest_class_mean(metric: str) -> None:
    method = method_of("ncm", COUNTS[0], metric=metric)
    net = small_network(method).float()
    method.take_means(net, lambda split: (FEATURES.float(), torch.tensor(LABELS)))
    train, centre = FEATURES.tolist(), [sum(column) / 12 for column in FEATURES.T.tolist()]

    def unit(x: list[float]) -> list[float]:
        return [v / math.sqrt(sum(u * u for u in x)) for v in x]

    def placed(x: list[float]) -> list[float]:
        if metric == "l2":
            return x
        return unit([v - c for v, c in zip(x, centre, strict=True)] if metric == "cl2n" else x)

    means = []
    for c in range(3):
        members = [placed(x) for x, y in zip(train, LABELS, strict=True) if y == c]
        means.append([sum(column) / len(members) for column in zip(*members, strict=True)])
    queries = random(6, 5, seed=9)
    for x, z in zip(queries.tolist(), net.heads["main"](queries).tolist(), strict=True):
        at = placed(x)
        if metric == "cosine":
            expected = [sum(a * b for a, b in zip(at, unit(m), strict=True)) for m in means]
        else:
            expected = [-sum((a - b) ** 2 for a, b in zip(at, m, strict=True)) for m in means]
        assert z == pytest.approx(expected, abs=1e-5)


# weight balancing


def test_max_norm_shortens_long_weights_to_the_cap_from_the_norms_of_stage_1() -> None:
    """min + 0.1 (max - min) of the norms when stage 1 ended; norms of stage 2 do not change it."""
    method = method_of("weight_balancing", COUNTS[0])
    net = small_network(method)
    weight = net.heads["main"].get_parameter("weight")
    with torch.no_grad():
        weight.copy_(random(3, 5) * torch.tensor([[0.01], [1.0], [10.0]]))
        lengths = [math.sqrt(sum(v * v for v in row)) for row in weight.tolist()]
        cap = min(lengths) + 0.1 * (max(lengths) - min(lengths))
        method.set_cap(net, without_validation)
        weight.mul_(2)
        before = weight.clone()
        method.max_norm(net)
    assert 2 * min(lengths) < cap < 2 * max(lengths)
    for w, old in zip(weight, before, strict=True):
        length = math.sqrt(sum(v * v for v in old.tolist()))
        assert w.tolist() == pytest.approx([v * min(1.0, cap / length) for v in old.tolist()], rel=1e-5)


def test_other_methods_can_continue_the_classifier_of_weight_balancing() -> None:
    """The cap is stored beside it: a classifier with more than weight and bias would be refused by `lws`."""
    assert set(method_of("weight_balancing", COUNTS[0]).build_head("main", 5, 3).state_dict()) == {"weight", "bias"}


def test_the_second_stage_of_weight_balancing_has_a_decay_of_its_own_and_a_cap_once_an_epoch() -> None:
    first, second = method_of("weight_balancing", COUNTS[0]).stages()
    assert (first.weight_decay, first.project) == (5e-3, None)
    assert (second.weight_decay, second.project_after, second.trains) == (0.1, "epoch", "heads")
    assert 200 * second.epochs == 10
