"""Features of a data set from a frozen backbone, computed once for each backbone, weights and preprocessing.

Training on them is the usual training: the "images" are feature vectors [1, 1, D], and the backbone passes them on.
Blocks of images are computed by threads that use one thread each, so the features do not depend on their number.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

from ltbench.data.features import FeatureFile, Writer, find
from ltbench.data.images import ImageSet, Split, mean_and_std
from ltbench.engine.augment.resized import centre
from ltbench.engine.batches import Normaliser
from ltbench.engine.process import numerics
from ltbench.errors import InputError
from ltbench.method.source import digest_of, pieces_of
from ltbench.models.network import initialised_backbone
from ltbench.plan.cell import digest
from ltbench.plan.recipe import Recipe
from ltbench.units import duration

BLOCK = 64  # images
REPORT_EVERY_S = 5.0
Say = Callable[[str], None]


def feature_path(images: ImageSet, with_test: bool, recipe: Recipe, environment: str, folder: Path) -> tuple[Path, str]:
    """The feature file of a data set, and its key.

    Args:
        images: the data set, as the recipe resizes it.
        with_test: whether the file has the features of the test images too.
        recipe: with pretrained weights.
        environment: what decides how numbers are rounded here, in words.
        folder: of all feature files.
    """
    values = {name: recipe.identity()[name] for name in ("backbone", "pretrained", "resized_crop", "precision")}
    key = digest([images.fingerprint, with_test, values, environment, _code()])
    return folder / f"{key}.features", key


@functools.cache
def _code() -> str:
    """Hash of the code that computes features."""
    return digest_of(pieces_of(["ltbench.engine.frozen.compute"]))


def frozen(images: ImageSet, file: FeatureFile) -> ImageSet:
    """A data set whose images are features; its fingerprint stays that of the images. Without the test split."""
    train = file.split("train")
    assert train is not None
    return replace(
        images, train=train, val=file.split("val"), mean=None, std=None, known_fingerprint=images.fingerprint
    )


def compute(
    images: ImageSet,
    test: Split | None,
    recipe: Recipe,
    path: Path,
    key: str,
    device: torch.device,
    threads: int,
    say: Say,
) -> FeatureFile:
    """The features of all images of a data set: found, or computed from where an earlier run was interrupted.

    Args:
        images: the data set, without its test split.
        test: that split.
        recipe: with pretrained weights.
        path, key: from ``feature_path``.
        device: where to compute.
        threads: of the CPU; on a GPU there is one.
        say: prints the progress.

    Raises:
        InputError: if the file cannot be written, and for features that are not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # two runs that start together compute them once
        found = find(path, key)
        if found is not None:
            if found.intact():
                return found
            say(f"feature file {path} was changed since it was written; computing it again")
        return _computed(images, test, recipe, path, key, device, threads, say)


def _computed(
    images: ImageSet,
    test: Split | None,
    recipe: Recipe,
    path: Path,
    key: str,
    device: torch.device,
    threads: int,
    say: Say,
) -> FeatureFile:
    named = {"train": images.train, "val": images.val, "test": test}
    splits = {name: split for name, split in named.items() if split is not None}
    network, normalise, features = extractor(images, recipe, device)
    run = functools.partial(block_features, network, normalise, recipe, device=device)
    labels = np.concatenate([split.labels for split in splits.values()])
    sizes = {name: len(split) for name, split in splits.items()}
    writer = Writer(path, key, labels, sizes, features)
    what = f"features of {images.name} by {recipe.weights}"
    say(f"{what}: {writer.done:,} of {len(labels):,} images are there; computing the others")
    began = reported = time.monotonic()
    first, starts = writer.done, range(writer.done, len(labels), BLOCK)
    read = functools.partial(_block, list(splits.values()))
    with closing(writer.file), numerics(strict=recipe.precision == "fp32-strict"):
        for found in _in_order(run, read, starts, 1 if device.type == "cuda" else threads):
            if not np.isfinite(found).all():
                raise InputError(f"{what} are not finite; use recipe.precision=fp32, or other weights")
            writer.append(found)
            if (now := time.monotonic()) - reported > REPORT_EVERY_S:
                reported, speed = now, (writer.done - first) / (now - began)
                left = duration((len(labels) - writer.done) / speed)
                say(f"{what}: {writer.done:,} of {len(labels):,} images, {speed:.0f} images/s, {left} left")
        return writer.finish()


def extractor(images: ImageSet, recipe: Recipe, device: torch.device) -> tuple[nn.Module, Normaliser, int]:
    """The frozen backbone of a recipe, what it sees of images, and the number of features."""
    height, width, channels = images.train.images.shape[1:]
    assert recipe.weights is not None
    backbone, features = initialised_backbone(
        recipe.backbone, channels, recipe.input_size(height, width), [0], weights=recipe.weights.file
    )
    mean, std = recipe.weights.normalisation(channels) or mean_and_std(images.train)
    network = backbone.to(device).to(memory_format=torch.channels_last).eval()
    return network, Normaliser(mean, std, device), features


def block_features(
    backbone: nn.Module, normalise: Normaliser, recipe: Recipe, pixels: NDArray[np.uint8], device: torch.device
) -> NDArray[np.float32]:
    """Features [B, D] of images [B, H, W, channels], or of their centres where the recipe takes resized crops."""
    images = torch.from_numpy(pixels).to(device)
    if recipe.resized_crop is not None:
        images = centre(images, recipe.resized_crop)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        found: NDArray[np.float32] = backbone(normalise(images)).float().cpu().numpy()
    return found


def _block(splits: Sequence[Split], start: int) -> NDArray[np.uint8]:
    """Images ``start`` to ``start + BLOCK``, or to the last one, of all splits in their order."""
    parts = []
    for split in splits:
        rows = np.arange(max(start, 0), min(start + BLOCK, len(split)))
        if len(rows):
            parts.append(split.images[rows if split.rows is None else split.rows[rows]])
        start -= len(split)
    return np.concatenate(parts)


def _in_order(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    read: Callable[[int], NDArray[np.uint8]],
    starts: Sequence[int],
    threads: int,
) -> Iterator[NDArray[np.float32]]:
    """The features of the blocks that begin at ``starts``, in order, computed by so many threads."""
    waiting: deque[Future[NDArray[np.float32]]] = deque()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(threads) as pool:
        for start in starts:
            waiting.append(pool.submit(lambda at: run(read(at)), start))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
