"""CUDA: levels that rise and fall by tests of every class."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ltbench.engine.augment.graded import Graded
from ltbench.engine.augment.kinds import NUMBER
from tests.methods.given import formula, method_of


def slow_levels(levels: list[int], answers: dict[tuple[int, int], list[bool]], threshold: float) -> list[int]:
    """Level by level, as in the paper: up if all strengths are passed, else down."""
    found = []
    for c, level in enumerate(levels):
        passed = [sum(answers[c, s]) / len(answers[c, s]) > threshold for s in range(level + 1)]
        found.append(min(10, level + 1) if all(passed) else max(0, level - 1))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_level_rises_if_every_strength_up_to_it_is_recognised(seed: int) -> None:
    levels = [0, 0, 3, 10, 10, 1]
    classes, strengths = formula("cuda_augmentation", "trials")(torch.tensor(levels), 10)
    random = np.random.default_rng(seed)
    right = torch.from_numpy(random.random(len(classes)) < random.choice([0.55, 0.9, 1.0], 6)[classes])
    answers: dict[tuple[int, int], list[bool]] = {}
    for c, s, answer in zip(classes.tolist(), strengths.tolist(), right.tolist(), strict=True):
        answers.setdefault((c, s), []).append(answer)
    assert set(answers) == {(c, s) for c, level in enumerate(levels) for s in range(level + 1)}
    assert all(len(asked) == 10 * (s + 1) for (_, s), asked in answers.items())
    assert len(classes) == sum(5 * (level + 1) * (level + 2) for level in levels)
    found = formula("cuda_augmentation", "next_levels")(torch.tensor(levels), classes, strengths, right, 0.6)
    assert found.tolist() == slow_levels(levels, answers, 0.6)


def test_six_of_ten_are_not_more_than_the_threshold() -> None:
    classes, strengths = formula("cuda_augmentation", "trials")(torch.tensor([0, 0]), 10)
    right = torch.tensor([True] * 6 + [False] * 4 + [True] * 7 + [False] * 3)
    found = formula("cuda_augmentation", "next_levels")(torch.tensor([0, 0]), classes, strengths, right, 0.6)
    assert found.tolist() == [0, 1]


def test_levels_are_remembered_and_returned() -> None:
    method = method_of("cuda_augmentation", [120, 30, 7])
    memory = method.build_memory(None, torch.tensor([120.0, 30.0, 7.0]))

    class Net:
        pass

    net: Any = Net()
    net.memory = memory

    def trial(classes: Tensor, strengths: Tensor) -> Tensor:
        return (classes == 1) | (strengths == 0)

    found = [method.test(net, trial).tolist() for _ in range(4)]
    assert found == [[1, 1, 1], [0, 2, 0], [1, 3, 1], [0, 4, 0]]
    assert memory.get_buffer("levels").tolist() == [0, 4, 0]


@pytest.mark.parametrize("strength", [0, 1, 7, 10])
def test_the_strength_is_the_number_of_operations_and_their_magnitude(strength: int) -> None:
    rows = Graded(32, 48).draw_for(np.full(4000, strength), np.random.default_rng(0))
    operations, values = rows[::2], rows[1::2].view(np.float64)
    assert ((operations != 0).sum(0) == strength).all()
    assert set(np.unique(operations)) - {0} == (set(range(1, 23)) if strength else set())  # all 22 of the authors
    m = strength / 30
    expected = {"ShearY": 0.3 * m, "Rotate": 30 * m, "TranslateX": 150 * m, "TranslateY": 100 * m}
    for name, most in expected.items():
        found = np.unique(values[operations == NUMBER[name]])
        np.testing.assert_allclose(found, [-most, most] if strength else [], atol=1e-12)
    once = {
        "GaussianBlur": 2 * m,
        "ResizeCrop": 1 + 0.5 * m,
        "SolarizeAdd": 110 * m,
        "Color": 0.1 + 1.8 * m,
        "Sharpness": 0.1 + 1.8 * m,
        "Posterize": max(1, int(4 * m)),
        "Solarize": 256 * m,
    }
    for name, value in once.items():
        np.testing.assert_allclose(np.unique(values[operations == NUMBER[name]]), [value] if strength else [])
