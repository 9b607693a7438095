"""Data sets by name: where each is looked for, and how it is read.

A data set is written ``digits``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``imagenet-lt`` or
``imagefolder:PATH``. ``--data NAME=PATH`` and ``--data NAME=imagefolder:PATH`` say where the images of NAME lie.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ltbench.data import archives, folder
from ltbench.data.home import data_folder
from ltbench.data.images import ImageSet
from ltbench.data.resize import resized
from ltbench.errors import InputError, unknown


@dataclass(frozen=True)
class Source:
    """One named data set: what it is, and the function that reads it (from a folder the user gave, or None)."""

    about: str
    read: Callable[[Path | None], ImageSet]


def _not_distributed(given: Path | None) -> ImageSet:
    raise InputError(
        "imagenet-lt cannot be downloaded; put the images of its published lists into PATH/{train,val,test}/CLASS/ "
        "and add --data imagenet-lt=imagefolder:PATH",
        "imagenet-lt",
    )


SOURCES: dict[str, Source] = {
    "digits": Source("8x8 grey hand-written digits, 10 classes; comes with scikit-learn", archives.digits),
    "fashion-mnist": Source("28x28 grey clothes, 10 classes x 6,000", archives.fashion_mnist),
    "cifar10": Source("32x32 colour, 10 classes x 5,000", archives.cifar10),
    "cifar100": Source("32x32 colour, 100 classes x 500", archives.cifar100),
    "imagenet-lt": Source("1,000 classes x 5 to 1,280; only from an image folder of your own", _not_distributed),
}
FOLDER = "imagefolder:"


def check_name(name: str) -> None:
    """Raises InputError where ``name`` is not a data set."""
    if name not in SOURCES and not (name.startswith(FOLDER) and len(name) > len(FOLDER)):
        raise unknown("data set", name, [*SOURCES, "imagefolder:PATH"])


def load(name: str, image_size: int | None = None, where: Mapping[str, str] | None = None) -> ImageSet:
    """Read a data set, whole and checked.

    Args:
        name: a key of ``SOURCES``, or ``imagefolder:PATH``.
        image_size: side in pixels that images are resized to; None: as they are.
        where: for each name, the place the user gave (``--data NAME=PLACE``).

    Raises:
        InputError: when it is missing, damaged or not understood; the message says what mends it.
    """
    check_name(name)
    for given in where or {}:
        check_name(given)
    place = (where or {}).get(name)
    if name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER)).expanduser()
        return folder.read(path, FOLDER + path.resolve().name, image_size, data_folder())
    if place is not None and place.startswith(FOLDER):
        images = folder.read(Path(place.removeprefix(FOLDER)).expanduser(), name, image_size, data_folder())
        return replace(images, name=f"{name} (imagefolder)")
    given_path = Path(place).expanduser() if place is not None else None
    if given_path is not None and not given_path.exists():
        raise InputError(f"--data {name}={place}: there is no such file or folder")
    return resized(SOURCES[name].read(given_path), image_size)
