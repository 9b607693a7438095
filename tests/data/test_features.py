from pathlib import Path

import numpy as np
import pytest

from ltbench.data.features import HEADER_BYTES, FeatureFile, Writer, find
from ltbench.errors import InputError

LABELS = np.arange(10) % 3
SPLITS = {"train": 6, "test": 4}
FEATURES = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)


def writer(path: Path) -> Writer:
    return Writer(path, "key", LABELS, SPLITS, width=5)


def written(path: Path) -> FeatureFile:
    new = writer(path)
    new.append(FEATURES[:4])
    new.append(FEATURES[4:])
    return new.finish()


def test_splits_come_back(tmp_path: Path) -> None:
    written(tmp_path / "f" / "x.features")
    file = find(tmp_path / "f" / "x.features", "key")
    assert file is not None
    assert file.intact()
    train, test = file.split("train"), file.split("test")
    assert train is not None
    assert test is not None
    assert file.split("val") is None
    assert train.images.shape == (6, 1, 1, 5)
    assert np.array_equal(np.concatenate([train.images, test.images]).reshape(10, 5), FEATURES)
    assert [*train.labels, *test.labels] == LABELS.tolist()
    assert train.take(np.array([5, 1])).pixels().reshape(2, 5).tolist() == FEATURES[[5, 1]].tolist()


BLOCKS = (FEATURES[:4], FEATURES[4:8], FEATURES[8:])


def interrupted(path: Path, blocks: int) -> Path:
    """The incomplete file of a computation that was killed while it wrote the next block."""
    first = writer(path)
    for block in BLOCKS[:blocks]:
        first.append(block)
    first.file.close()
    assert find(path, "key") is None
    with first.partial.open("ab") as file:
        file.write(b"half a block")
    return first.partial


@pytest.mark.parametrize("blocks", range(4))
def test_an_interrupted_file_goes_on_after_its_last_whole_block(tmp_path: Path, blocks: int) -> None:
    interrupted(tmp_path / "x.features", blocks)
    again = writer(tmp_path / "x.features")
    assert again.done == min(4 * blocks, 10)
    for block in BLOCKS[blocks:]:
        again.append(block)
    assert again.finish().header == written(tmp_path / "y.features").header
    assert (tmp_path / "x.features").read_bytes() == (tmp_path / "y.features").read_bytes()


@pytest.mark.parametrize("at", [60, HEADER_BYTES + 1, HEADER_BYTES + 8 * 10 + 3], ids=["header", "labels", "features"])
def test_an_interrupted_file_that_was_damaged_is_computed_from_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int
) -> None:
    partial = interrupted(tmp_path / "x.features", 2)
    content = bytearray(partial.read_bytes())
    content[at] ^= 1
    partial.write_bytes(content)
    again = writer(tmp_path / "x.features")
    assert again.done == 0
    assert "is damaged" in capsys.readouterr().err
    for block in BLOCKS:
        again.append(block)
    assert again.finish().intact()


def test_a_file_that_was_complete_but_not_renamed_is_kept(tmp_path: Path) -> None:
    written(tmp_path / "x.features").path.rename(tmp_path / ".x.features.partial")
    assert writer(tmp_path / "x.features").done == 10


def test_damage_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.features"
    file = written(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert not file.intact()
    for damaged, why in ((bytes(content[:-4]), "another length"), (b"x" * 5000, "another format")):
        path.write_bytes(damaged)
        assert find(path, "key") is None
        assert why in capsys.readouterr().err
    written(path)
    assert find(path, "other key") is None
    assert "contains other features" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(InputError, match=r"feature file /proc/nowhere/x\.features cannot be written"):
        writer(Path("/proc/nowhere/x.features"))
