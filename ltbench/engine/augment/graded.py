"""Operations whose number and magnitude grow with a strength that a method chooses for each class.

Ahn, Ko, Yun, ICLR 2023 (arXiv 2302.05499), section 3: strength s means s random operations, each with magnitude s / 30.
Arguments are those of the authors' code, where a small magnitude can be a strong change: few bits for "Posterize", a
low threshold for "Solarize", small factors.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment import further, geometry
from ltbench.engine.augment.kinds import FACTORS, NUMBER
from ltbench.engine.augment.operations import KINDS, Kinds, as_rows, operate
from ltbench.method.samplers import MOST_STRENGTH

FULL = 30
"""The strength that would have the largest arguments."""
ALL_KINDS: Kinds = (
    (functools.partial(geometry.moved, fill=0), geometry.NAMES),
    *(kind for kind in KINDS if kind[0] is not geometry.moved),
    (further.turned, ("Flip", "Mirror")),
    (further.filtered, tuple(further.FILTERS)),
    (further.blurred, ("GaussianBlur",)),
    (further.enlarged, ("ResizeCrop",)),
    (further.solarized_sum, ("SolarizeAdd",)),
)
"""Those of AutoAugment, black outside of the image, and further ones, which AutoAugment need not pay for on a GPU."""


class Graded:
    """As many operations, drawn uniformly, as an image has strength. Rows of the plan: number and argument of each.

    Args:
        height, width: size of the images in pixels.
    """

    rows = 2 * MOST_STRENGTH

    def __init__(self, height: int, width: int) -> None:
        self.arguments = graded_arguments(height, width)

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the rows of images with strength 0, which stay as they are."""
        return self.draw_for(np.zeros(draws, np.int64), random)

    def draw_for(self, strengths: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the rows [rows, draws] for images with these strengths [draws], from 0 to ``MOST_STRENGTH``."""
        size = (MOST_STRENGTH, len(strengths))
        drawn = random.integers(1, len(NUMBER), size=size)  # 0 is "Identity"
        direction = random.integers(2, size=size)
        used = np.arange(MOST_STRENGTH)[:, None] < strengths
        values = self.arguments[direction, drawn, strengths]
        return as_rows(np.where(used, drawn, NUMBER["Identity"]), values)

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        return operate(pixels, rows, ALL_KINDS)


def graded_arguments(height: int, width: int) -> NDArray[np.float64]:
    """Arguments [2, operations, strengths] of the operations: for both directions, strengths 0 to ``MOST_STRENGTH``.

    Translations are those of the authors, up to 100 pixels of 32, relative to the size of the image.
    """
    magnitude = np.arange(MOST_STRENGTH + 1) / FULL
    largest = {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30.0}
    largest |= {"TranslateX": 100 / 32 * width, "TranslateY": 100 / 32 * height}
    found = np.zeros((2, len(NUMBER), MOST_STRENGTH + 1))
    for name, most in largest.items():
        found[:, NUMBER[name]] = np.stack([-most * magnitude, most * magnitude])
    for name in FACTORS:
        found[:, NUMBER[name]] = 0.1 + 1.8 * magnitude
    found[:, NUMBER["Posterize"]] = np.maximum(1, np.trunc(4 * magnitude))
    found[:, NUMBER["Solarize"]] = 256 * magnitude
    found[:, NUMBER["SolarizeAdd"]] = 110 * magnitude
    found[:, NUMBER["GaussianBlur"]] = 2 * magnitude
    found[:, NUMBER["ResizeCrop"]] = 1 + 0.5 * magnitude
    return found
