"""Lists, tables and iNaturalist's JSON: the images of a folder, named in another way, are the same data set."""

import csv
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ltbench.data import ImageSet, load
from ltbench.data.waiting import WaitingSplit
from ltbench.errors import InputError

Make = Callable[..., Path]
Line = tuple[str, str, str]
"""Path below the root, class and split."""

SIZES = {
    "train": {"cat": 6, "dog": 4, "emu": 3},
    "val": {"cat": 2, "dog": 2, "emu": 2},
    "test": {"cat": 3, "dog": 2, "emu": 2},
}


@pytest.fixture
def photos(picture_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in three splits; it is also the root of every list."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data-home"))
    for split, classes in SIZES.items():
        root = picture_folder(classes, at=f"photos/{split}").parent
    return root


def lines_of(root: Path) -> list[Line]:
    """The images of a folder in a mixed order."""
    found = [(str(path.relative_to(root)), path.parts[-2], path.parts[-3]) for path in sorted(root.rglob("*.png"))]
    random.Random(0).shuffle(found)
    return found


def as_list(root: Path, into: Path, label: Callable[[str], object] = str) -> str:
    into.mkdir(exist_ok=True)
    for split in SIZES:
        rows = [f"{path} {label(c)}\n" for path, c, of in lines_of(root) if of == split]
        (into / f"{split}.txt").write_text("".join(rows))
    return f"list:{into / 'train.txt'},test={into / 'test.txt'},val={into / 'val.txt'},root={root}"


def as_csv(root: Path, into: Path) -> str:
    with (into.parent / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "kind", "part"), *lines_of(root)])
    return f"csv:{into.parent / 'photos.csv'},path=file,label=kind,split=part,root={root}"


def as_tsv_beside_the_images(root: Path, into: Path) -> str:
    with (root / "photos.tsv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter="\t").writerows([("path", "label", "split"), *lines_of(root)])
    return f"csv:{root / 'photos.tsv'}"


def as_parquet(root: Path, into: Path) -> str:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(("path", "label", "split"), map(list, zip(*lines_of(root), strict=True)), strict=True))
    parquet.write_table(arrow.table(columns), into.parent / "photos.parquet")
    return f"parquet:{into.parent / 'photos.parquet'},root={root}"


def as_inaturalist(root: Path, into: Path) -> str:
    into.mkdir(exist_ok=True)
    ids = {"cat": 7, "dog": 10, "emu": 200}
    for split in SIZES:
        rows = [(n, path, c) for n, (path, c, of) in enumerate(lines_of(root)) if of == split]
        content = {
            "images": [{"id": n, "file_name": path} for n, path, _ in rows],
            "annotations": [{"id": n, "image_id": n, "category_id": ids[c]} for n, _, c in rows],
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
        }
        (into / f"{split}.json").write_text(json.dumps(content))
    return f"inaturalist:{into / 'train.json'},test={into / 'test.json'},val={into / 'val.json'},root={root}"


@pytest.mark.parametrize("written", [as_list, as_csv, as_tsv_beside_the_images, as_parquet, as_inaturalist])
def test_every_format_gives_the_data_set_of_the_folder(
    photos: Path, tmp_path: Path, written: Callable[[Path, Path], str]
) -> None:
    folder, listed = load(f"imagefolder:{photos}"), load(written(photos, tmp_path / "lists"))
    assert listed.classes == folder.classes == ("cat", "dog", "emu")
    assert listed.fingerprint == folder.fingerprint
    for split in SIZES:
        one, other = (getattr(images, split) for images in (folder, listed))
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.pixels(), other.pixels())
        assert other.in_file
    assert len(list((tmp_path / "data-home" / "folders").iterdir())) == 1, "the images were decoded twice"


def test_integer_labels_are_ordered_by_value(photos: Path, tmp_path: Path) -> None:
    numbers = {"cat": 10, "dog": 9, "emu": 100}
    images = load(as_list(photos, tmp_path / "lists", label=numbers.__getitem__))
    assert images.classes == ("9", "10", "100")
    assert images.train.counts(3) == [4, 6, 3]
    assert images.test is not None and images.test.counts(3) == [2, 3, 2]


def test_a_path_may_contain_spaces(photos: Path, tmp_path: Path) -> None:
    (photos / "train" / "cat" / "000.png").rename(photos / "train" / "cat" / "a b.png")
    assert load(as_list(photos, tmp_path / "lists")).fingerprint


def test_without_test_the_validation_list_is_the_test_set(photos: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    as_list(photos, lists)
    images = load(f"list:{lists / 'train.txt'},val={lists / 'val.txt'},root={photos}")
    assert images.val is None
    assert images.test is not None and images.test.counts(3) == [2, 2, 2]


def test_a_single_list_is_split_as_a_single_folder_is(photos: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    as_list(photos, lists)
    listed, folder = load(f"list:{lists / 'train.txt'},root={photos}"), load(f"imagefolder:{photos / 'train'}")
    assert listed.fingerprint == folder.fingerprint
    assert listed.test is not None and listed.test.counts(3) == [1, 1, 1]


def test_the_test_split_waits_in_a_file(photos: Path, tmp_path: Path) -> None:
    images = load(as_list(photos, tmp_path / "lists"))
    assert images.test is not None
    read = WaitingSplit(images.test).read()
    assert isinstance(read.images, np.memmap)
    assert np.array_equal(read.pixels(), images.test.pixels())
    assert np.array_equal(read.labels, images.test.labels)


def test_a_changed_label_changes_the_data_set(photos: Path, tmp_path: Path) -> None:
    spec = as_list(photos, tmp_path / "lists")
    before = load(spec).fingerprint
    path = tmp_path / "lists" / "train.txt"
    path.write_text(path.read_text().replace("cat/000.png cat", "cat/000.png dog"))
    assert load(spec).fingerprint != before


def test_categories_with_one_name_are_told_apart_by_their_number(photos: Path, tmp_path: Path) -> None:
    spec = as_inaturalist(photos, tmp_path / "lists")
    for path in (tmp_path / "lists").iterdir():
        path.write_text(path.read_text().replace('"name": "dog"', '"name": "cat"'))
    assert load(spec).classes == ("cat (7)", "cat (10)", "emu")


def test_images_of_a_named_data_set_may_come_from_a_list(photos: Path, tmp_path: Path) -> None:
    images = load("cifar10", where={"cifar10": as_list(photos, tmp_path / "lists")})
    assert images.name == "cifar10 (list)"


def read_text(tmp_path: Path, photos: Path, text: str | bytes, spec: str) -> ImageSet:
    """Load ``spec``, in which FILE is a file of this text and ROOT the folder of the images."""
    file = tmp_path / "file"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(spec.replace("FILE", str(file)).replace("ROOT", str(photos)))


FOUR = "".join(f"train/{c}/00{n}.png {c}\n" for c in ("cat", "dog") for n in (0, 1))
TABLE = "path,label\ntrain/cat/000.png,a\ntrain/dog/000.png,b\n"
WRONG: dict[str, tuple[str | bytes, str, str]] = {
    "no such list": (FOUR, "list:FILEs,root=ROOT", "files does not exist; correct the path"),
    "no such root": (FOUR, "list:FILE,root=ROOT/x", "photos/x does not exist; correct root=FOLDER"),
    "no such test list": (FOUR, "list:FILE,test=nowhere.txt,root=ROOT", "nowhere.txt does not exist"),
    "a folder": (FOUR, "list:ROOT", "cannot be read .*Is a directory"),
    "empty": ("\n\n", "list:FILE,root=ROOT", "file names no image"),
    "no label": ("a.png\n", "list:FILE,root=ROOT", "file, line 1: 'a.png' is not understood; write PATH LABEL"),
    "not text": (b"\xff\xfe\x00a 1", "list:FILE,root=ROOT", "file cannot be read .*utf-8"),
    "binary table": (b"path,label\n\xff,1\n", "csv:FILE,root=ROOT", "file cannot be read .*utf-8"),
    "missing image": (
        FOUR + "x.png cat\n",
        "list:FILE,root=ROOT",
        "file, line 5: image .*x.png does not exist;",
    ),
    "no root": (FOUR, "list:FILE", "file, line 1: image .* does not exist; .* set root=FOLDER"),
    "a folder as image": (FOUR + "train/cat cat\n", "list:FILE,root=ROOT", "line 5: image .*train/cat is not a file"),
    "NUL in a path": (FOUR + "a\0b cat\n", "list:FILE,root=ROOT", "line 5: its path or label has a control character"),
    "duplicate": (
        FOUR + "train/./cat/000.png 1\n",
        "list:FILE,root=ROOT",
        "line 5: image .* is also in .*line 1; remove",
    ),
    "train is test": (FOUR, "list:FILE,test=FILE,root=ROOT", "line 1: image .* is also in .*line 1"),
    "negative": (FOUR + "train/cat/003.png -1\n", "list:FILE,root=ROOT", "line 5: label -1 is negative"),
    "one class": ("train/cat/000.png 0\n", "list:FILE,root=ROOT", r"file has 1 class\(es\); at least 2"),
    "one image": (FOUR + "train/emu/000.png emu", "list:FILE,root=ROOT", "class 'emu' in .*file has one image"),
    "unknown option": (FOUR, "list:FILE,tset=x", "unknown option of list: 'tset'; did you mean 'test'"),
    "columns of a list": (FOUR, "list:FILE,label=x", "unknown option of list: 'label'"),
    "option twice": (FOUR, "list:FILE,root=a,root=b", "root= is given twice"),
    "empty option": (FOUR, "list:FILE,root=", "root= is empty"),
    "no file": (FOUR, "list: ", "names no file; write list:FILE"),
    "no column": (
        TABLE,
        "csv:FILE,label=kind",
        "column of .*file 'kind' .*known: label, path; set label=COLUMN",
    ),
    "no split column": (TABLE, "csv:FILE,split=part", "unknown column of .*file 'part'"),
    "split and test": (TABLE, "csv:FILE,split=s,test=FILE", "has split= and further files; remove one"),
    "one column twice": (TABLE, "csv:FILE,path=label,root=ROOT", "one column is given for two"),
    "empty table": ("", "csv:FILE", "unknown column of .*file 'path'"),
    "only a header": ("path,label\n", "csv:FILE", "file names no image"),
    "line break in a path": (TABLE + '"a\nb",a\n', "csv:FILE,root=ROOT", "line 5: its path or label has a control"),
    "short row": (TABLE + "x.png\n", "csv:FILE,root=ROOT", "line 4: it has not as many fields as the header"),
    "long row": (TABLE + "x.png,a,b\n", "csv:FILE,root=ROOT", "line 4: it has not as many fields as the header"),
    "empty label": (TABLE + "x.png,\n", "csv:FILE,root=ROOT", "line 4: the label is empty"),
    "open quote": (TABLE + '"x.png,a\n', "csv:FILE,root=ROOT", "file cannot be read"),
    "unknown split": (
        "path,label,split\nx,a,dev\n",
        "csv:FILE",
        "line 2: unknown split 'dev'; allowed: train, val, test",
    ),
    "no train": ("path,label,split\nx,a,test\n", "csv:FILE", "file has no row of split train"),
    "not parquet": (TABLE, "parquet:FILE", "file cannot be read .*; replace it"),
    "not JSON": (FOUR, "inaturalist:FILE", "file is not iNaturalist's JSON"),
    "other JSON": ("[]", "inaturalist:FILE", "file is not iNaturalist's JSON"),
    "no annotations": (
        '{"images": [{"id": 1, "file_name": "a"}], "categories": []}',
        "inaturalist:FILE",
        "file is not iNaturalist's JSON .*annotations",
    ),
    "not annotated": (
        '{"images": [{"id": 1, "file_name": "a"}], "categories": [], "annotations": []}',
        "inaturalist:FILE",
        "file, image 1: it has no annotation",
    ),
    "no category": (
        '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "category_id": 5}],"categories":[]}',
        "inaturalist:FILE",
        "annotation of image 1: category 5 is not in the file",
    ),
    "unknown kind": (FOUR, "lists:FILE", "unknown data set 'lists:"),
    "nothing after the kind": (FOUR, "list:", "unknown data set 'list:'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_one_line(tmp_path: Path, photos: Path, case: str) -> None:
    with pytest.raises(InputError, match=WRONG[case][2]) as caught:
        read_text(tmp_path, photos, *WRONG[case][:2])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data-home").exists()


def test_a_class_of_one_split_only_is_named_with_its_line(photos: Path, tmp_path: Path) -> None:
    spec = as_list(photos, tmp_path / "lists")
    path = tmp_path / "lists" / "test.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].rsplit(maxsplit=1)[0] + " gnu", *lines[1:]]))
    with pytest.raises(InputError, match=r"test\.txt, line 1: class 'gnu' is not in both .*train\.txt and .*test\.txt"):
        load(spec)
    path.write_text("\n".join(line for line in lines if not line.endswith("emu")))
    with pytest.raises(InputError, match=r"train\.txt, line \d+: class 'emu' is not in both"):
        load(spec)


def test_categories_of_two_files_must_agree(photos: Path, tmp_path: Path) -> None:
    spec = as_inaturalist(photos, tmp_path / "lists")
    path = tmp_path / "lists" / "test.json"
    path.write_text(path.read_text().replace('"name": "dog"', '"name": "gnu"'))
    with pytest.raises(InputError, match=r"test\.json: category 10 is 'gnu' here and 'dog' in another file"):
        load(spec)


def test_parquet_without_pyarrow_says_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs pyarrow; pip install pyarrow, or convert the table to CSV"):
        read_text(tmp_path, photos, TABLE, "parquet:FILE")
