"""RandAugment (Cubuk et al., CVPR Workshops 2020, arXiv:1909.13719): random operations of one magnitude.

Operations and magnitudes are torchvision's: 31 levels, and both directions of shears, translations, rotations and
factors are equally likely.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltbench.engine.augment.kinds import NAMES
from ltbench.engine.augment.operations import arguments, as_rows, operate

LEVELS = 31
OPERATIONS = len(NAMES) - 1  # all but the last, "Invert"


class RandAugment:
    """Operations drawn independently. Rows of the plan: number and argument of each.

    Args:
        operations: number of operations for each image.
        magnitude: from 0 to 30.
        height, width: size of the images in pixels.
    """

    name, idle = "randaugment", 0  # the number of "Identity"

    def __init__(self, operations: int, magnitude: int, height: int, width: int) -> None:
        self.operations, self.rows = operations, 2 * operations
        self.arguments = arguments(LEVELS, height, width)[:, :, magnitude]

    def draw(self, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """See ``Augmentation``."""
        drawn = random.integers(OPERATIONS, size=(self.operations, draws))
        direction = random.integers(2, size=drawn.shape)
        return as_rows(drawn, self.arguments[direction, drawn])

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """See ``Augmentation``."""
        return operate(pixels, rows)
