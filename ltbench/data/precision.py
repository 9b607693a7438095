"""How precise a comparison can be, from the number of test images."""

import math
from collections.abc import Sequence

ENOUGH = 3.0
"""Half-width in points up to which a test set is called large enough to compare methods (our rule)."""


def half_width(test: Sequence[int]) -> float:
    """Half-width in points of the 95 % interval that one run's balanced accuracy will have, for recalls of 50 %.

    This is the expectation of ``results.statistics.image_error`` times 1.96. With n_c test images, the recall p of a
    class has the variance p (1 - p) / n_c, which is largest at 50 %; balanced accuracy is the mean over classes.

    Args:
        test: test images of each class, [C], each at least 1.
    """
    return 1.96 * 100 * math.sqrt(sum(0.25 / n for n in test)) / len(test)


def precision(test: Sequence[int]) -> str:
    """What the size of a test set means for a comparison, in words."""
    width = half_width(test)
    verdict = (
        "enough to compare methods"
        if width <= ENOUGH
        else f"few: methods that differ by less than about {width:.0f} points cannot be distinguished"
    )
    return f"balanced accuracy ± {width:.1f} points (95 %, one run, at recalls of 50 %), {verdict}"
