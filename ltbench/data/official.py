"""Official data sets, known by their pixels and labels, whether an archive, a folder or a list has the images."""

from dataclasses import dataclass, replace

import numpy as np

from ltbench.data.files import FileSet
from ltbench.data.images import Split

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # Cao19, for both data sets


@dataclass(frozen=True)
class Official:
    """What is known of a data set that papers use.

    Attributes:
        name: its name in tables and among published figures.
        tested: where its test images came from.
        mean, std: per-channel normalisation of the literature, in [0, 1].
    """

    name: str
    tested: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


OFFICIAL: dict[str, Official] = {
    "1237c41c5908e53c": Official("cifar10", "the official test split", CIFAR_MEAN, CIFAR_STD),
}
"""By fingerprint, with the images in label order and those of a class in the order of the published files."""


def in_label_order(split: Split) -> Split:
    """The same images in the order in which a folder has them: by label, and within a class as they were."""
    return split.take(np.argsort(split.labels, kind="stable"))


def recognised(images: FileSet) -> FileSet:
    """The same data set, called and normalised as the literature does it where its pixels and labels are official."""
    known = OFFICIAL.get(images.fingerprint)
    return images if known is None else replace(images, **vars(known))
