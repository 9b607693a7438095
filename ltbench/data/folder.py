"""Reader of image folders: ``PATH/class/image`` or ``PATH/{train,val,test}/class/image``."""

from pathlib import Path

from ltbench.data.files import ORDER, Collection, File, FileSet, assembled
from ltbench.data.resize import BILINEAR
from ltbench.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
OTHER_NAMES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
"""Names that people give to folders of splits, and the name that is read."""


def read(root: Path, name: str, side: int | None, cache: Path, interpolation: str = BILINEAR) -> FileSet:
    """Read an image folder; the arguments are those of ``collected`` and ``files.assembled``."""
    return assembled(collected(root), name, side, cache, interpolation)


def collected(root: Path) -> Collection:
    """List the images of a folder.

    Args:
        root: the folder. Without ``train/`` its sub-folders are the classes. ``files.assembled`` says which images are
            the test set.

    Raises:
        InputError: for a missing folder and a class without images.
    """
    if not root.is_dir():
        raise InputError(f"image folder {root} does not exist; correct the path")
    folders = _splits(root)
    found = {split: class_files(folder) for split, folder in folders.items()}
    classes = tuple(sorted(set().union(*found.values())))
    labels = {name: label for label, name in enumerate(classes)}
    splits = {
        split: [File(path, labels[c]) for c, paths in by_class.items() for path in paths]
        for split, by_class in found.items()
    }
    called = {split: str(folder) for split, folder in folders.items()}
    return Collection(root, root, classes, splits, called)


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split."""
    below = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if "train" not in below:
        if below and below <= {"val", "test", *OTHER_NAMES}:
            found = " and ".join(sorted(below))
            raise InputError(f"{root} has {found} but no train; name the folder of the training images train")
        return {"train": root}
    for other in sorted(below & OTHER_NAMES.keys()):
        if OTHER_NAMES[other] not in below:
            raise InputError(f"{root / other} is not read; rename it to {OTHER_NAMES[other]}, or move it away")
    return {split: root / split for split in ORDER if split in below}


def class_files(folder: Path) -> dict[str, list[Path]]:
    """List the image files of each class, by the name of its folder.

    Raises:
        InputError: where there is no class folder, or one without images.
    """
    classes = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if not classes:
        raise InputError(f"{folder} has no class folders; put the images of each class into a folder, or move it away")
    files = {c.name: [p for p in c.rglob("*") if p.suffix.lower() in EXTENSIONS] for c in classes}
    for c in classes:
        if not files[c.name]:
            raise InputError(f"class folder {c} contains no image; add images or remove the folder")
    return files
