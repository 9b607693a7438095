"""Selection of the images of a long-tailed training set.

Counts and images are exactly those of Cao et al., NeurIPS 2019 (LDAM-DRW): classes in label order, ``n_i = int(n_max *
mu ** (i / (C - 1)))`` with ``mu = 1 / imbalance_factor``, and from each class the first ``n_i`` images after a shuffle
with one legacy NumPy generator, whose random numbers never change between NumPy versions.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import InputError

Indices = NDArray[np.int64]
Profile = Literal["exp", "step", "natural"]


@dataclass(frozen=True)
class Imbalance:
    """A long-tailed profile and its factor rho = n_max / n_min (``natural``: all images of the data set)."""

    profile: Profile = "exp"
    factor: float = 1.0

    @classmethod
    def parse(cls, value: "Imbalance | str | float", profile: Profile = "exp") -> "Imbalance":
        """Parse ``100`` (with the suite's profile), ``"exp:100"``, ``"step:10"`` or ``"natural"``.

        Raises:
            InputError: for anything else, and for a factor below 1.
        """
        if isinstance(value, Imbalance):
            return value
        text = str(value).strip()
        if text == "natural" or profile == "natural":
            return cls("natural", 1.0)
        match = re.fullmatch(r"(?:(exp|step):)?(\d+(?:\.\d+)?)", text)
        if match is None:
            raise InputError(
                f"imbalance '{text}' is not understood; allowed: 100, exp:100, step:10, natural", "imbalance"
            )
        factor = float(match[2])
        if factor < 1:
            raise InputError(f"imbalance {text} is below 1; give n_max / n_min: 1 (balanced) or more", "imbalance")
        return cls(match[1] or profile, factor)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.profile == "natural":
            return "natural"
        return f"{self.factor:g}" if self.profile == "exp" else f"{self.profile}:{self.factor:g}"


def shares(profile: Profile, factor: float, classes: int) -> list[float]:
    """Compute the size of each class relative to the largest, in label order."""
    mu = 1 / factor
    if profile == "exp":
        return [mu ** (i / (classes - 1.0)) for i in range(classes)]
    return [1.0 if i < classes // 2 else mu for i in range(classes)]


def class_counts(available: list[int], imbalance: Imbalance) -> list[int]:
    """Compute the number of images that each class keeps.

    ``n_max`` is the largest size of the first class for which every class has enough images. If all classes have the
    same size, it is that size, as in the literature.

    Args:
        available: images of each class, in label order.
        imbalance: profile and factor.

    Raises:
        InputError: if a class would be empty.
    """
    if imbalance.profile == "natural":
        return list(available)
    share = shares(imbalance.profile, imbalance.factor, len(available))
    n_max = min(int(n / s) for n, s in zip(available, share, strict=True))
    counts = [int(n_max * s) for s in share]
    if min(counts) < 1:
        raise InputError(
            f"imbalance {imbalance} leaves class {counts.index(0)} without an image: the largest class has {n_max}, "
            f"so the factor may be at most {n_max}"
        )
    return counts


def select(labels: NDArray[np.int64], counts: list[int], subset_seed: int) -> Indices:
    """Choose the images to keep, class after class (``gen_imbalanced_data`` of Cao et al.).

    Args:
        labels: [N], in file order.
        counts: [C] number of images to keep of each class.
        subset_seed: seed of the choice; 0 gives the subset of the literature.

    Returns:
        Their indices [sum of ``counts``].
    """
    generator = np.random.RandomState(subset_seed)
    kept = []
    for c, n in enumerate(counts):
        members = np.flatnonzero(labels == c)
        generator.shuffle(members)
        kept.append(members[:n])
    return np.concatenate(kept).astype(np.int64)


def hold_out(labels: NDArray[np.int64], per_class: int, subset_seed: int) -> tuple[Indices, Indices]:
    """Choose a balanced validation set from the complete data set.

    Args:
        labels: [N], in file order.
        per_class: images per class.
        subset_seed: seed of the choice.

    Returns:
        Indices of the other images and of the validation set, both in file order.

    Raises:
        InputError: if a class has ``per_class`` images or fewer.
    """
    generator = np.random.RandomState([subset_seed, per_class])
    chosen = []
    for c in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == c)
        if len(members) <= per_class:
            raise InputError(
                f"holdout of {per_class} images per class is too large: class {c} has {len(members)}; lower it"
            )
        chosen.append(generator.permutation(members)[:per_class])
    held = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), held), held
