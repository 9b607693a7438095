"""AutoAugment with the policy for CIFAR-10 (Cubuk et al., CVPR 2019, table 7 of arXiv:1805.09501).

Magnitudes are torchvision's: ten levels, and both directions of shears, translations, rotations and factors are equally
likely.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.kinds import NUMBER
from ltbench.engine.augment.operations import arguments, as_rows, operate

LEVELS = 10
POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
"""Sub-policies of two operations: name, probability, and level of the magnitude (0 where the operation has none)."""


class AutoAugment:
    """One of the 25 sub-policies. Rows of the plan: number and argument of its two operations.

    An operation that its probability excludes is drawn as "Identity".

    Args:
        height, width: size of the images in pixels.
    """

    rows = 4
    name, idle = "autoaugment", 0  # the number of "Identity"

    def __init__(self, height: int, width: int) -> None:
        self.arguments = arguments(LEVELS, height, width)

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        numbers = np.array([[NUMBER[name] for name, _, _ in pair] for pair in POLICY])
        probabilities = np.array([[probability for _, probability, _ in pair] for pair in POLICY])
        levels = np.array([[level for _, _, level in pair] for pair in POLICY])
        chosen = random.integers(len(POLICY), size=draws)
        happens = random.random((2, draws)) < probabilities[chosen].T
        direction = random.integers(2, size=(2, draws))
        operations = np.where(happens, numbers[chosen].T, NUMBER["Identity"])
        return as_rows(operations, self.arguments[direction, operations, levels[chosen].T])

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        return operate(pixels, rows)
