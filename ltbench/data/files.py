"""Image files with labels, made into a data set: what image folders, lists and tables have in common.

The images are decoded once into a packed file. Its key is made of the name, label, length and times of every image file
and of the image size, so that later only the files' times are read, and a changed file is noticed.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltbench.data import packed
from ltbench.data.images import ImageSet, Split
from ltbench.data.resize import BILINEAR
from ltbench.errors import InputError

TEST_SHARE = 0.2  # of each class, held out where there is no test split
ORDER = ("train", "val", "test")


class File(NamedTuple):
    """An image file: its path, its label, and the line that names it (empty: it was found in a folder)."""

    path: Path
    label: int
    line: str = ""

    @property
    def prefix(self) -> str:
        """Start of an error message."""
        return f"{self.line}: " if self.line else ""


@dataclass(frozen=True)
class Collection:
    """The image files of a data set, as a folder, list or table has them.

    Attributes:
        source: the folder, list or table.
        root: the folder of the images. The place of an image below it is part of the key; that of ``root`` is not.
        classes: names, in label order.
        splits: files of ``train`` and perhaps of ``val`` and ``test``.
        called: what the user calls each split, such as the path of its folder or list.
    """

    source: Path
    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, list[File]]
    called: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class FileSet(ImageSet):
    """A data set of image files.

    Attributes:
        tested: where the test images came from, in words.
    """

    tested: str = ""


def assembled(
    collection: Collection, name: str, side: int | None, cache: Path, interpolation: str = BILINEAR
) -> FileSet:
    """Make a data set of image files.

    Files are ordered by label, then by path. So a data set does not depend on the order of a list's lines.

    Args:
        collection: the files. Without ``test``, ``val`` is the test set, and there is no validation split. Without
            both, a fifth of each class (fixed seed, at least one image) is the test set.
        name: name of the data set in tables.
        side: height and width in pixels that images are resized to; None: all images must have the same size.
        cache: folder for the decoded images.
        interpolation: how images are resized.

    Returns:
        The images as memory maps of the packed file.

    Raises:
        InputError: for fewer than two classes, a class that is not in every split, a missing or unreadable image,
            images of different sizes, and if the packed file cannot be written.
    """
    _check_classes(collection)
    splits = {
        split: sorted(collection.splits[split], key=lambda file: (file.label, file.path.parts))
        for split in ORDER
        if split in collection.splits
    }
    tested = _choose_test(splits, collection)
    key = _key(splits, collection.root, side if interpolation == BILINEAR else [side, interpolation])
    labels = {split: np.array([file.label for file in files], np.int64) for split, files in splits.items()}
    ends = np.cumsum([len(files) for files in splits.values()]).tolist()

    def image_set(images: packed.Images, fingerprint: str | None = None) -> FileSet:
        made = {
            split: Split(images(end - len(labels[split]), end), labels[split])
            for split, end in zip(splits, ends, strict=True)
        }
        return FileSet(
            name,
            collection.classes,
            made["train"],
            made["test"],
            made.get("val"),
            str(collection.source),
            known_fingerprint=fingerprint,
            tested=tested,
        )

    target = cache / "folders" / f"{key}.images"
    paths = [file.path for files in splits.values() for file in files]

    def fingerprint(images: packed.Images) -> str:
        return image_set(images).fingerprint

    pack = packed.find(target, key, fingerprint) or packed.build(
        target, key, collection.source, paths, side, interpolation, fingerprint
    )
    return image_set(pack.images, pack.header.fingerprint)


def _check_classes(collection: Collection) -> None:
    """Every split must have images of every class."""
    if len(collection.classes) < 2:
        raise InputError(f"{collection.called['train']} has {len(collection.classes)} class(es); at least 2 are needed")
    first = {split: {file.label: file for file in reversed(files)} for split, files in collection.splits.items()}
    for split, found in first.items():
        if odd := found.keys() ^ first["train"].keys():
            file = found.get(min(odd)) or first["train"][min(odd)]
            both = f"{collection.called['train']} and {collection.called[split]}"
            name = collection.classes[min(odd)]
            raise InputError(f"{file.prefix}class '{name}' is not in both {both}; add images of it, or remove it")


def _choose_test(splits: dict[str, list[File]], collection: Collection) -> str:
    """Complete ``splits`` by a test split, and return in words where it came from."""
    if "test" in splits:
        return collection.called["test"]
    if "val" in splits:
        splits["test"] = splits.pop("val")
        return f"{collection.called['val']} (there is no test split, so its validation images are the test images)"
    labels = np.array([file.label for file in splits["train"]])
    generator = np.random.RandomState(0)
    held: set[int] = set()
    for c, name in enumerate(collection.classes):
        members = generator.permutation(np.flatnonzero(labels == c))
        if len(members) < 2:
            raise InputError(
                f"class '{name}' in {collection.source} has one image, so none can be held out for testing; "
                "add a test split"
            )
        held.update(members[: max(1, round(TEST_SHARE * len(members)))].tolist())
    pool = splits["train"]
    splits["train"] = [file for i, file in enumerate(pool) if i not in held]
    splits["test"] = [file for i, file in enumerate(pool) if i in held]
    return "a fifth of each class, chosen by ltbench with a fixed seed (there is no test split)"


def _key(splits: Mapping[str, list[File]], root: Path, size: object) -> str:
    """Hash everything that the packed file depends on. A replaced image has a new change time, even after ``cp -p``."""
    digest = hashlib.sha256(json.dumps(size).encode())
    for split, files in splits.items():
        for file in files:
            found = _stat(file)
            place = str(file.path).removeprefix(f"{root}{os.sep}")
            member = [split, place, file.label, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            digest.update(json.dumps(member).encode())
    return digest.hexdigest()[:32]


def _stat(file: File) -> os.stat_result:
    try:
        found = file.path.stat()
    except FileNotFoundError:
        hint = "correct the line, or set root=FOLDER" if file.line else "remove this link"
        raise InputError(f"{file.prefix}image {file.path} does not exist; {hint}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file.prefix}image {file.path} cannot be read ({error}); correct its path") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{file.prefix}image {file.path} is not a file; remove it")
    return found
