"""Networks that learn from others: DiVE, NCL."""

import math

import pytest
import torch

from ltbench.method.memory import slow_copy
from tests.methods.given import (
    COUNTS,
    LABELS,
    Answers,
    assert_same,
    clock,
    formula,
    labelled,
    log_softmax,
    method_of,
    random,
    small_network,
)


@pytest.mark.parametrize("given", [{}, {"alpha": 0.3, "temperature": 3.0, "power": 1.0}])
def test_dive(given: dict[str, float]) -> None:
    method = method_of("dive", COUNTS[0], **given)
    net, teacher = small_network(method).float(), small_network(method, seed=1).float()
    net.remember(method.build_memory(teacher, torch.tensor(COUNTS[0])))
    images = random(12, 1, 4, 4).float()
    loss = method.loss(net, labelled(images), clock())
    alpha, temperature, power = (given.get(n, d) for n, d in (("alpha", 0.5), ("temperature", 2.0), ("power", 0.5)))
    total = torch.zeros(())
    for row, other, y in zip(net(images), teacher(images).detach(), LABELS, strict=True):
        balanced = -log_softmax(row + torch.tensor(COUNTS[0]).log(), y)
        soft = [log_softmax(other / temperature, j).exp() ** power for j in range(3)]
        soft = [p / sum(soft) for p in soft]
        kl = sum(p * (p.log() - log_softmax(row / temperature, j)) for j, p in enumerate(soft))
        total = total + (alpha * temperature**2 * kl + (1 - alpha) * balanced) / 12
    assert_same(loss, total, list(net.parameters()), 1e-5, of_gradient=1e-4)


def test_the_teacher_of_dive_does_not_change() -> None:
    method = method_of("dive", COUNTS[0])
    net = small_network(method).float()
    net.remember(method.build_memory(net, torch.tensor(COUNTS[0])))
    teacher = net.memory.get_submodule("teacher")
    before = slow_copy(teacher)
    assert not teacher.training
    method.loss(net, labelled(random(12, 1, 4, 4).float()), clock()).backward()
    for value, other in zip(teacher.parameters(), before.parameters(), strict=True):
        assert value.grad is None
        assert torch.equal(value, other)


@pytest.mark.parametrize("hard", [0.1, 0.5])
def test_ncl(hard: float) -> None:
    counts, classes = [400, 100, 50, 20, 7, 2], 6
    method = method_of("ncl", counts, hard=hard)
    logits = random(3, 12, classes).requires_grad_()
    loss = method.loss(Answers(logits), labelled(), clock())
    number, total = max(2, round(hard * classes)), torch.zeros(())
    for i, y in enumerate(LABELS):
        others = sorted((j for j in range(classes) if j != y), key=lambda j: -logits[0, i, j].item())
        chosen = {y, *others[: number - 1]}
        for few in (False, True):
            rows = []
            for expert in range(3):
                shifted = [z + math.log(n) for z, n in zip(logits[expert, i], counts, strict=True)]
                kept = [z if not few or j in chosen else 0 * z for j, z in enumerate(shifted)]
                rows.append(torch.stack([log_softmax(torch.stack(kept), j) for j in range(classes)]))
            total = total - sum(row[y] for row in rows) / 12
            for a in range(3):
                for b in range(3):
                    if a != b:
                        total = total + 0.6 * (rows[b].exp() * (rows[b] - rows[a])).sum() / 2 / 12
    assert_same(loss, total, [logits], 1e-5, of_gradient=1e-4)


def test_hard_classes_are_the_label_and_those_with_the_highest_logits() -> None:
    logits = torch.tensor([[5.0, 4.0, 3.0, -9.0], [0.0, 1.0, 2.0, 3.0]])
    found = formula("ncl", "hard_classes")(logits, torch.tensor([3, 0]), 2)
    assert found.tolist() == [[True, False, False, True], [True, False, False, True]]


def test_the_mean_logits_of_ncl_predict() -> None:
    logits = random(3, 12, 3)
    assert torch.allclose(method_of("ncl", COUNTS[0]).predict(Answers(logits), random(1)), logits.mean(0))
