"""Any folder of images: ``PATH/class/image`` or ``PATH/{train,val,test}/class/image``.

Decoded once into a cache that is keyed by the content of every file and by the side in pixels. A cache is built under
another name and renamed when it is whole, so any number of processes may build the same one at once.
"""

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ltbench.data.images import ImageSet, Split
from ltbench.data.resize import square
from ltbench.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_SHARE = 0.2  # of each class, held out where a folder has no test/
FORMAT = 1  # of the cache


def read(root: Path, name: str, side: int | None, cache: Path) -> ImageSet:
    """Read an image folder.

    Args:
        root: the folder. Without ``train/`` its sub-folders are the classes. Without ``test/`` a fifth of each class
            (fixed draw, at least one image) becomes the test set. ``val/`` is used as validation set if it is there.
        name: what tables will call the data set.
        side: images are resized to this many pixels; None: they must all be of one size.
        cache: folder for the decoded images.

    Raises:
        InputError: for a missing folder, a class without images, an unreadable image, sizes that differ.
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

    arrays = {split: _cached(root, by_class, side, cache) for split, by_class in files.items()}
    channels = max(images.shape[-1] for images, _ in arrays.values())
    done = {split: Split(np.repeat(x, channels // x.shape[-1], axis=-1), y) for split, (x, y) in arrays.items()}
    if len({split.images.shape[1:3] for split in done.values()}) > 1:
        raise InputError(f"images in {root} are of several sizes; add --set recipe.image_size=64 (or another side)")
    if "test" not in done:
        done["train"], done["test"] = _split_off_test(done["train"], root, classes)
    return ImageSet(name, tuple(classes), done["train"], done["test"], done.get("val"), found=str(root))


def _files(folder: Path) -> dict[str, list[Path]]:
    """Image files of each class, both in order of name."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {c.name: sorted(p for p in c.rglob("*") if p.suffix.lower() in EXTENSIONS) for c in classes}
    for c in classes:
        if not files[c.name]:
            raise InputError(f"class folder {c} holds no image; add images or remove the folder")
    return files


def _cached(
    root: Path, by_class: dict[str, list[Path]], side: int | None, cache: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels of one split, decoded now or read from the cache."""
    paths = [path for members in by_class.values() for path in members]
    labels = np.repeat(np.arange(len(by_class)), [len(members) for members in by_class.values()])
    digest = hashlib.sha256(json.dumps([FORMAT, side, labels.tolist()]).encode())
    with ThreadPoolExecutor() as pool:
        for content in pool.map(lambda path: hashlib.sha256(path.read_bytes()).digest(), paths):
            digest.update(content)
    target = cache / "folders" / f"{digest.hexdigest()[:32]}.npy"
    if not target.exists():
        images = _decode(root, paths, side)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.with_name(f".{uuid4().hex}.npy")
        try:
            np.save(building, images)
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)
    return np.load(target, mmap_mode="r"), labels


def _decode(root: Path, paths: list[Path], side: int | None) -> NDArray[np.uint8]:
    def decode(path: Path) -> tuple[NDArray[np.uint8], bool]:
        try:
            with Image.open(path) as image:
                grey = image.mode in ("1", "L")
                return np.asarray(square(image.convert("RGB"), side) if side else image.convert("RGB")), grey
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            reason = str(error).split("'")[0].strip() or type(error).__name__
            raise InputError(f"image {path} cannot be read ({reason}); replace or remove it") from error

    with ThreadPoolExecutor() as pool:
        first, _ = decode(paths[0])
        images = np.empty((len(paths), *first.shape), np.uint8)
        all_grey = True
        for i, (pixels, grey) in enumerate(pool.map(decode, paths)):
            if pixels.shape != first.shape:
                sizes = Counter([first.shape[:2], pixels.shape[:2]])
                raise InputError(
                    f"images in {root} are of several sizes ({' and '.join(f'{w}x{h}' for h, w in sizes)}); "
                    "add --set recipe.image_size=64 (or another side)"
                )
            images[i] = pixels
            all_grey &= grey
    return images[..., :1] if all_grey else images


def _split_off_test(pool: Split, root: Path, classes: list[str]) -> tuple[Split, Split]:
    generator = np.random.RandomState(0)
    test = []
    for c, name in enumerate(classes):
        members = generator.permutation(np.flatnonzero(pool.labels == c))
        if len(members) < 2:
            raise InputError(
                f"class '{name}' in {root} has one image, so none can be held out to test; add a test/ folder"
            )
        test.append(members[: max(1, round(TEST_SHARE * len(members)))])
    held = np.sort(np.concatenate(test))
    return pool.take(np.setdiff1d(np.arange(len(pool)), held)), pool.take(held)
