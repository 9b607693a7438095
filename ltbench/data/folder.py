"""Reader of image folders: ``PATH/class/image`` or ``PATH/{train,val,test}/class/image``.

The images are decoded once into a packed file. Its key is made of the name, length and times of every image file and of
the image size, so that later only the list of files is read, and a changed file is noticed.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltbench.data import packed
from ltbench.data.images import ImageSet, Split
from ltbench.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_SHARE = 0.2  # of each class, held out where a folder has no test/
Files = tuple[list[Path], NDArray[np.int64]]
"""Image files of a split, and their labels."""


def read(root: Path, name: str, side: int | None, cache: Path) -> ImageSet:
    """Read an image folder.

    Args:
        root: the folder. Without ``train/`` its sub-folders are the classes. Without ``test/`` a fifth of each class
            (fixed seed, at least one image) becomes the test set. ``val/`` is the validation set, if it exists.
        name: name of the data set in tables.
        side: height and width in pixels that images are resized to; None: all images must have the same size.
        cache: folder for the decoded images.

    Returns:
        The images as memory maps of the packed file.

    Raises:
        InputError: for a missing folder, a class without images, an unreadable image, images of different sizes, and
            if the packed file cannot be written.
    """
    if not root.is_dir():
        raise InputError(f"image folder {root} does not exist; correct the path")
    splits = {s: root / s for s in ("train", "val", "test") if (root / s).is_dir()}
    if "train" not in splits:
        splits = {"train": root}
    files = {split: _files(folder) for split, folder in splits.items()}
    classes = list(files["train"])
    if len(classes) < 2:
        raise InputError(f"{splits['train']} has {len(classes)} class folder(s); at least 2 are needed")
    for split in files:
        if list(files[split]) != classes:
            odd = sorted(set(files[split]) ^ set(classes))[0]
            both = f"{splits['train']} and {splits[split]}"
            raise InputError(f"class '{odd}' is not in both {both}; add or remove its folder")

    contents = {split: _labelled(by_class) for split, by_class in files.items()}
    if "test" not in contents:
        contents["train"], contents["test"] = _split_off_test(contents["train"], root, classes)
    paths = [path for members, _ in contents.values() for path in members]
    ends = np.cumsum([len(members) for members, _ in contents.values()]).tolist()

    def assembled(images: packed.Images, fingerprint: str | None = None) -> ImageSet:
        splits = {
            split: Split(images(end - len(labels), end), labels)
            for (split, (_, labels)), end in zip(contents.items(), ends, strict=True)
        }
        found, val = str(root), splits.get("val")
        return ImageSet(
            name, tuple(classes), splits["train"], splits["test"], val, found, known_fingerprint=fingerprint
        )

    key = _key(root, contents, side)
    target = cache / "folders" / f"{key}.images"
    pack = packed.find(target, key) or packed.build(
        target, key, root, paths, side, lambda images: assembled(images).fingerprint
    )
    return assembled(pack.images, pack.header.fingerprint)


def _files(folder: Path) -> dict[str, list[Path]]:
    """List the image files of each class; classes and files are sorted by name."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {c.name: sorted(p for p in c.rglob("*") if p.suffix.lower() in EXTENSIONS) for c in classes}
    for c in classes:
        if not files[c.name]:
            raise InputError(f"class folder {c} contains no image; add images or remove the folder")
    return files


def _labelled(by_class: dict[str, list[Path]]) -> Files:
    paths = [path for members in by_class.values() for path in members]
    return paths, np.repeat(np.arange(len(by_class)), [len(members) for members in by_class.values()])


def _key(root: Path, contents: dict[str, Files], side: int | None) -> str:
    """Hash everything that the packed file depends on. A replaced image has a new change time, even after ``cp -p``."""
    digest = hashlib.sha256(json.dumps([side, TEST_SHARE]).encode())
    for split, (paths, _) in contents.items():
        for path in paths:
            found = path.stat()
            member = [split, str(path.relative_to(root)), found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            digest.update(json.dumps(member).encode())
    return digest.hexdigest()[:32]


def _split_off_test(pool: Files, root: Path, classes: list[str]) -> tuple[Files, Files]:
    paths, labels = pool
    generator = np.random.RandomState(0)
    test = []
    for c, name in enumerate(classes):
        members = generator.permutation(np.flatnonzero(labels == c))
        if len(members) < 2:
            raise InputError(
                f"class '{name}' in {root} has one image, so none can be held out for testing; add a test/ folder"
            )
        test.append(members[: max(1, round(TEST_SHARE * len(members)))])
    held = np.sort(np.concatenate(test))
    kept = np.setdiff1d(np.arange(len(labels)), held)
    rest, tested = ([paths[i] for i in chosen] for chosen in (kept, held))
    return (rest, labels[kept]), (tested, labels[held])
