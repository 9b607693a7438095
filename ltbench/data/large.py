"""The large data sets of the literature: what to download, and the counts that their images must have.

Counts of ImageNet-LT and Places-LT are those of the lists of Liu et al. (CVPR 2019, arXiv 1904.05160), which Kang et
al. (ICLR 2020) distribute too; those of iNaturalist 2018 are those of the competition (visipedia/inat_comp).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ltbench.data import folder
from ltbench.data.files import Collection, File
from ltbench.errors import InputError

TINY_FOLDER, TINY_SIDE = "tiny-imagenet-200", 64


@dataclass(frozen=True)
class Counts:
    """Published counts of a data set.

    Attributes:
        classes: number of classes.
        largest, smallest: images of the largest and of the smallest class of the training images.
        images: images of each split.
    """

    classes: int
    largest: int
    smallest: int
    images: Mapping[str, int]


@dataclass(frozen=True)
class Large:
    """A data set of the literature that cannot be downloaded by ltbench.

    Attributes:
        about: one line on it.
        files: what to download: file, size, and from whom.
        place: the value of ``--data`` that names the files.
        counts: as published.
        layout: how the files must be unpacked.
        side: pixels that its recipe resizes images to; None: they are not resized.
    """

    about: str
    files: tuple[str, ...]
    place: str
    counts: Counts
    layout: str
    side: int | None = 256


LISTS = "from facebookresearch/classifier-balancing on GitHub, folder data/"
IMAGENET = "from image-net.org, after registration"
LARGE: dict[str, Large] = {
    "imagenet-lt": Large(
        "1,000 classes x 5 to 1,280; only from your own copy of ImageNet",
        (
            f"ILSVRC2012_img_train.tar (138 GB) and ILSVRC2012_img_val.tar (6.3 GB) {IMAGENET}",
            f"ImageNet_LT_train.txt, ImageNet_LT_val.txt and ImageNet_LT_test.txt (8 MB) {LISTS}ImageNet_LT",
        ),
        "imagenet-lt=list:ImageNet_LT_train.txt,test=ImageNet_LT_test.txt,val=ImageNet_LT_val.txt,root=IMAGENET",
        Counts(1000, 1280, 5, {"train": 115_846, "val": 20_000, "test": 50_000}),
        "IMAGENET/train/n01440764/*.JPEG and IMAGENET/val/n01440764/*.JPEG: images of each class in its own folder",
    ),
    "places-lt": Large(
        "365 classes x 5 to 4,980; only from your own copy of Places365",
        (
            "places365standard_easyformat.tar (24 GB; 256x256 images) from places2.csail.mit.edu",
            f"Places_LT_train.txt, Places_LT_val.txt and Places_LT_test.txt (4 MB) {LISTS}Places_LT",
        ),
        "places-lt=list:Places_LT_train.txt,test=Places_LT_test.txt,val=Places_LT_val.txt,root=PLACES",
        Counts(365, 4980, 5, {"train": 62_500, "val": 7300, "test": 36_500}),
        "PLACES/train/airfield/*.jpg and PLACES/val/airfield/*.jpg, as in the archive",
    ),
    "inaturalist2018": Large(
        "8,142 classes x 2 to 1,000; only from your own copy",
        (
            "train_val2018.tar.gz (120 GB), train2018.json.tar.gz (26 MB) and val2018.json.tar.gz (26 MB) "
            "from visipedia/inat_comp on GitHub, folder 2018",
        ),
        "inaturalist2018=inaturalist:train2018.json,test=val2018.json,root=INATURALIST",
        Counts(8142, 1000, 2, {"train": 437_513, "test": 24_426}),
        "INATURALIST/train_val2018/Plantae/7291/*.jpg, as in the archive; its validation images are the test images",
    ),
    "tiny-imagenet": Large(
        f"{TINY_SIDE}x{TINY_SIDE} colour, 200 classes x 500; only from your own copy",
        (f"{TINY_FOLDER}.zip (248 MB) from cs231n.stanford.edu",),
        f"tiny-imagenet={TINY_FOLDER}",
        Counts(200, 500, 500, {"train": 100_000, "test": 10_000}),
        f"{TINY_FOLDER}/train/n01443537/images/*.JPEG, {TINY_FOLDER}/val/images/*.JPEG and "
        f"{TINY_FOLDER}/val/val_annotations.txt, as in the archive; its validation images are the test images",
        side=None,
    ),
}


class Missing(InputError):
    """A large data set that no ``--data`` names."""

    def __init__(self, name: str) -> None:
        """State how to name its files."""
        given = LARGE[name].place
        other = f", or --data {name}=imagefolder:PATH for PATH/{{train,val,test}}/CLASS/" if "=list:" in given else ""
        super().__init__(f"{name} cannot be downloaded by ltbench; add --data {given}{other}", name)


def instructions(name: str) -> str:
    """What to download and where to put it, in lines."""
    large = LARGE[name]
    counts = large.counts
    images = ", ".join(f"{number:,} {split}" for split, number in counts.images.items())
    per_class = f"{counts.smallest:,} to {counts.largest:,}" if counts.smallest < counts.largest else counts.largest
    packed = sum(counts.images.values()) * 3 * (large.side or TINY_SIDE) ** 2 / 1e9
    size = f" --image-size {large.side}" if large.side else ""
    return "\n".join(
        [
            f"{name}: {counts.classes:,} classes of {per_class}; images: {images}",
            *(f"download    {file}" for file in large.files),
            f"unpack as   {large.layout}",
            f"free        {packed:.1f} GB in the data folder, for the packed images",
            f"then run    ltbench data check {name} --data {large.place}{size}",
        ]
    )


def check_counts(name: str, found: Collection, counts: Counts) -> None:
    """Compare the counts of a data set with the published ones.

    Args:
        name: of the data set.
        found: its images. ``val`` takes the place of ``test`` where there is no ``test``, as in ``files.assembled``.
        counts: the published ones.

    Raises:
        InputError: for the first count that differs.
    """
    splits = {split: len(files) for split, files in found.splits.items()}
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    sizes = Counter(file.label for file in found.splits["train"]).values()
    compared = {
        "classes": (len(found.classes), counts.classes),
        **{f"{split} images": (splits.get(split, 0), number) for split, number in counts.images.items()},
        "images in the largest class": (max(sizes), counts.largest),
        "images in the smallest class": (min(sizes), counts.smallest),
    }
    for what, (number, published) in compared.items():
        if number != published:
            raise InputError(
                f"{found.source} has {number:,} {what}, but {name} has {published:,}; correct the files, or give a "
                "subset another name: --datasets list:FILE, imagefolder:PATH or another form of 'ltbench ls datasets'",
                name,
            )


def tiny_imagenet(root: Path) -> Collection:
    """List the images of Tiny ImageNet in the layout of its archive.

    Args:
        root: the folder ``tiny-imagenet-200``, or one that contains it.

    Raises:
        InputError: where a part of it is missing or ``val_annotations.txt`` is not understood.
    """
    root = root / TINY_FOLDER if (root / TINY_FOLDER).is_dir() else root
    annotations = root / "val" / "val_annotations.txt"
    for part in (root / "train", root / "val" / "images", annotations):
        if not part.exists():
            raise InputError(f"{part} is missing; give the folder {TINY_FOLDER} as unpacked: --data tiny-imagenet=PATH")
    train = folder.class_files(root / "train")
    classes = tuple(sorted(train))
    labels = {name: label for label, name in enumerate(classes)}
    test = []
    for number, text in enumerate(annotations.read_text(encoding="utf-8").splitlines(), 1):
        image, name = [*text.split("\t"), "", ""][:2]
        line = f"{annotations}, line {number}"
        if name not in labels:
            raise InputError(f"{line}: class {name!r} has no folder in {root / 'train'}; replace the file")
        test.append(File(annotations.parent / "images" / image, labels[name], line))
    splits = {"train": [File(path, labels[c]) for c, paths in train.items() for path in paths], "test": test}
    called = {
        "train": str(root / "train"),
        "test": f"{root / 'val'} (the validation split, as in the literature: the labels of the test split are secret)",
    }
    return Collection(root, root, classes, splits, called)
