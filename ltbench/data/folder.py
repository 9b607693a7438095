"""Any folder of images: ``PATH/class/image`` or ``PATH/{train,val,test}/class/image``.

Decoded once into a packed file, which is keyed by the name, length and times of every image file and by the side in
pixels, so that nothing but the folder's listing is read again.
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
            (fixed draw, at least one image) becomes the test set. ``val/`` is used as validation set if it is there.
        name: what tables will call the data set.
        side: images are resized to this many pixels; None: they must all be of one size.
        cache: folder for the decoded images.

    Returns:
        Its images as memory maps of the packed file.

    Raises:
        InputError: for a missing folder, a class without images, an unreadable image, sizes that differ, and where the
            packed file cannot be written.
    """
    if not root.is_dir():
        raise InputError(f"image folder {root} does not exist")
    splits = {s: root / s for s in ("train", "val", "test") if (root / s).is_dir()}
    if "train" not in splits:
        splits = {"train": root}
    files = {split: _files(folder) for split, folder in splits.items()}
    classes = list(files["train"])
    if len(classes) < 2:
        raise InputError(f"{splits['train']} has {len(classes)} class sub-folder(s); at least 2 are needed")
    for split in files:
        if list(files[split]) != classes:
            odd = sorted(set(files[split]) ^ set(classes))[0]
            raise InputError(f"class '{odd}' is not in both {splits['train']} and {splits[split]}")

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
    """Image files of each class, both in order of name."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {c.name: sorted(p for p in c.rglob("*") if p.suffix.lower() in EXTENSIONS) for c in classes}
    for c in classes:
        if not files[c.name]:
            raise InputError(f"class folder {c} holds no image; add images or remove the folder")
    return files


def _labelled(by_class: dict[str, list[Path]]) -> Files:
    paths = [path for members in by_class.values() for path in members]
    return paths, np.repeat(np.arange(len(by_class)), [len(members) for members in by_class.values()])


def _key(root: Path, contents: dict[str, Files], side: int | None) -> str:
    """What decides the packed file. A replaced image is seen by its change time, even where ``cp -p`` kept others."""
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
                f"class '{name}' in {root} has one image, so none can be held out to test; add a test/ folder"
            )
        test.append(members[: max(1, round(TEST_SHARE * len(members)))])
    held = np.sort(np.concatenate(test))
    kept = np.setdiff1d(np.arange(len(labels)), held)
    rest, tested = ([paths[i] for i in chosen] for chosen in (kept, held))
    return (rest, labels[kept]), (tested, labels[held])
