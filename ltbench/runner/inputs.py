"""What the cells of a process are trained on: images, or the features that a frozen backbone computed of them."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ltbench.data import ImageSet, Split
from ltbench.data.features import FeatureFile, find
from ltbench.data.home import data_folder
from ltbench.engine.frozen import compute, feature_path, frozen
from ltbench.engine.process import prepare
from ltbench.errors import InputError
from ltbench.plan.expand import Planned
from ltbench.plan.recipe import Recipe
from ltbench.runner.environment import environment


def compute_features(cells: Sequence[Planned], device: torch.device, say: Callable[[str], None]) -> None:
    """Compute the features that these cells need and that are not there.

    Args:
        device: where to compute them.
        say: prints the progress.

    Raises:
        InputError: if they cannot be computed or written.
    """
    needed = {(p.cell.fingerprint, p.cell.recipe): p for p in cells if p.cell.recipe.frozen}
    for planned in needed.values():
        prepare()
        test = planned.test.read() if planned.test else None
        path, key = _place(planned.images, planned.test is not None, planned.cell.recipe, device)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        compute(planned.images, test, planned.cell.recipe, path, key, device, cores, say)


def inputs(planned: Planned, device: torch.device) -> tuple[ImageSet, Callable[[], Split] | None]:
    """The data set of a cell before the cut, without its test split, and a function that reads this split, if any.

    Raises:
        InputError: for features that were not computed, or were changed since.
    """
    if not planned.cell.recipe.frozen:
        return planned.images, planned.test.read if planned.test else None
    images, file = _featured(planned.images, planned.test is not None, planned.cell.recipe, device)

    def test() -> Split:
        split = file.split("test")
        assert split is not None
        return split

    return images, test if planned.test else None


@functools.lru_cache(maxsize=16)
def _featured(images: ImageSet, with_test: bool, recipe: Recipe, device: torch.device) -> tuple[ImageSet, FeatureFile]:
    path, key = _place(images, with_test, recipe, device)
    file = find(path, key)
    if file is None or not file.intact():
        raise InputError(f"feature file {path} is missing or was changed; repeat the command to compute it again")
    return frozen(images, file), file


def _place(images: ImageSet, with_test: bool, recipe: Recipe, device: torch.device) -> tuple[Path, str]:
    where = environment(device, threads=1).rounding
    return feature_path(images, with_test, recipe, where, data_folder() / "features")
