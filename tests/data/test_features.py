from pathlib import Path

import numpy as np
import pytest

from ltbench.data.features import FeatureFile, Writer, find
from ltbench.errors import InputError

LABELS = np.arange(10) % 3
SPLITS = {"train": 6, "test": 4}
FEATURES = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)


def writer(path: Path) -> Writer:
    return Writer(path, "key", LABELS, SPLITS, width=5, block=4)


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


@pytest.mark.parametrize(("stored", "left"), [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8)])
def test_an_interrupted_file_goes_on_after_its_last_whole_block(tmp_path: Path, stored: int, left: int) -> None:
    path = tmp_path / "x.features"
    first = writer(path)
    first.append(FEATURES[:stored])
    first.file.close()
    assert find(path, "key") is None
    again = writer(path)
    assert again.done == left
    again.append(FEATURES[left:])
    assert again.finish().header == written(tmp_path / "y.features").header


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
