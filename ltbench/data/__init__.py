"""Data sets: images as uint8 arrays, splits, and long-tailed subsets. Independent of methods and of training."""

from ltbench.data.images import ImageSet, LongTailed, Split, cut
from ltbench.data.longtail import Imbalance, class_counts
from ltbench.data.sources import SOURCES, Source, load

__all__ = [
    "SOURCES",
    "ImageSet",
    "Imbalance",
    "LongTailed",
    "Source",
    "Split",
    "class_counts",
    "cut",
    "load",
]
