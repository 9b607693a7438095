"""Reader of data sets of the Hugging Face hub, or in its formats on disk, through the package ``datasets``.

The text after ``hf:`` is ``NAME_OR_FOLDER[,config=NAME][,image=COLUMN][,label=COLUMN]``. The columns default to the
only one of images and the only one of classes. Images that are stored inside the data set are written into the cache,
as files, unchanged.
"""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from ltbench.data.files import Collection, File
from ltbench.data.home import expanded
from ltbench.errors import InputError, one_line, unknown

OPTIONS = ("config", "image", "label")
SPLITS = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test"}
"""Names of splits, and the split that they are here; others are not used."""


def collected(text: str, cache: Path) -> Collection:
    """List the images of a data set.

    Args:
        text: what follows ``hf:``.
        cache: folder for the image files.

    Raises:
        InputError: where ``datasets`` is not installed or cannot load the data set, for an unknown option, and for a
            data set without images, classes or training images.
    """
    name, options = _parsed(text)
    splits = {split: loaded for key, loaded in _loaded(name, options).items() if (split := SPLITS.get(key))}
    if "train" not in splits:
        raise InputError(f"hf:{name} has no split 'train'; save it with one", "train")
    import datasets

    image = _column(name, splits["train"].features, datasets.Image, "image", options)
    label = _column(name, splits["train"].features, datasets.ClassLabel, "label", options)
    found = {split: _files(part, image, label, cache / "hf", split) for split, part in splits.items()}
    classes = tuple(splits["train"].features[label].names)
    return Collection(Path(name), cache, classes, found, {split: f"hf:{name}, split {split}" for split in splits})


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    name, *others = (part.strip() for part in re.split(r",(?=\s*\w+=)", text))
    options: dict[str, str] = {}
    for other in others:
        key, _, value = (part.strip() for part in other.partition("="))
        if key not in OPTIONS:
            raise unknown("option of hf:", key, OPTIONS)
        options[key] = value
    return name, options


def _loaded(name: str, options: dict[str, str]) -> Any:
    """The data set, by split."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise InputError("hf: needs the package datasets; install it with pip install 'ltbench[hf]'", "hf") from None
    folder = expanded(name)
    try:
        if (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder) if folder.is_dir() else name, options.get("config"))
    except Exception as error:  # datasets raises many types
        raise InputError(
            f"data set hf:{name} cannot be loaded ({one_line(error)}); correct the name, or give the folder that "
            "save_to_disk has written"
        ) from error


def _column(name: str, features: Any, kind: type, option: str, options: dict[str, str]) -> str:
    """The column that an option names, or the only one of a kind."""
    fitting: list[str] = [column for column, feature in features.items() if isinstance(feature, kind)]
    if option in options:
        if options[option] not in fitting:
            raise unknown(f"{option} column of hf:{name}", options[option], fitting)
        return options[option]
    if len(fitting) != 1:
        raise InputError(
            f"hf:{name} has {len(fitting)} columns of {kind.__name__}"
            + (f" ({', '.join(fitting)}); choose one with ,{option}=COLUMN" if fitting else "; it needs one"),
            option,
        )
    return fitting[0]


def _files(part: Any, image: str, label: str, cache: Path, split: str) -> list[File]:
    """The image files of a split; what is stored in the data set is written into the cache first."""
    import datasets

    rows = part.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    folder = cache / f"{part._fingerprint}-{image}"
    inside = bool(len(rows)) and rows[0][image]["bytes"] is not None
    if inside and not folder.is_dir():
        building = folder.with_name(f".{uuid4().hex}")
        building.mkdir(parents=True)
        for number, row in enumerate(rows):
            (building / str(number)).write_bytes(row[image]["bytes"])
        building.replace(folder)
    labels = rows.with_format(None)[label]
    paths = [folder / str(i) for i in range(len(rows))] if inside else [Path(row["path"]) for row in rows[image]]
    return [
        File(path, int(of_image), f"hf, {split} image {number}")
        for number, (path, of_image) in enumerate(zip(paths, labels, strict=True))
    ]
