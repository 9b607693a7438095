"""Decoded images and features in the data folder that are not those that were written: made again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ltbench.data import features, packed
from ltbench.data.features import HEADER_BYTES
from ltbench.results.store import Store
from tests.conftest import numbers
from tests.reliability.attack import Attack, fault


def alter(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@fault("Data folder", "one pixel of the decoded images is altered")
def test_an_altered_pixel(attack: Attack, picture_folder: Callable[..., Path]) -> None:
    name = f"imagefolder:{picture_folder({'cat': 5, 'dog': 4})}"
    before = attack("data", "check", name)
    (path,) = Path("../data-home/folders").glob("*.images")
    whole = path.read_bytes()
    alter(path, -1)
    packed.INTACT.clear()  # as in a new process
    after = attack("data", "check", name)
    attack.shown(after, 0, "is damaged (its pixels were changed since it was written); building it again")
    assert after.out == before.out
    assert path.read_bytes() == whole
    assert "damaged" not in attack("data", "check", name).err


@pytest.fixture
def run_on_features(tmp_path: Path, picture_folder: Callable[..., Path]) -> tuple[str, ...]:
    """A run of one epoch on the features of a tiny frozen backbone."""
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    images = picture_folder({"cat": 6, "dog": 5}, size=(32, 32))
    values = {"backbone": "test_resnet", "pretrained": tmp_path / "w.safetensors", "epochs": 1}
    settings = (word for name, value in values.items() for word in ("--set", f"recipe.{name}={value}"))
    words = ("--datasets", f"imagefolder:{images}", "--recipe", "frozen", "--methods", "ce", "--seeds", "1")
    return ("run", *words, *settings, "--workers", "1", "--no-tracking")


@pytest.mark.slow
@fault("Data folder", "one feature of a frozen backbone is altered")
def test_an_altered_feature(attack: Attack, run_on_features: tuple[str, ...]) -> None:
    assert attack(*run_on_features).status == 0
    (path,) = Path("../data-home/features").glob("*.features")
    alter(path, -3)
    answer = attack(*run_on_features, "--results", "results-again")
    attack.shown(answer, 0, "was changed since it was written; computing it again")
    (one,), (other,) = Store("results").latest().values(), Store("results-again").latest().values()
    assert numbers(one) == numbers(other)


@pytest.mark.slow
@fault("Data folder", "one feature is altered after a cell was trained, before it is exported")
def test_an_altered_feature_before_an_export(attack: Attack, run_on_features: tuple[str, ...]) -> None:
    from ltbench.runner import inputs

    assert attack(*run_on_features).status == 0
    (path,) = Path("../data-home/features").glob("*.features")
    alter(path, HEADER_BYTES + 100)
    inputs._featured.cache_clear()  # as in a new process
    (cell,) = Store("results").latest()
    answer = attack("export", cell, "-o", "results/model")
    attack.shown(answer, 0, "was changed since it was written; computing it again")


@pytest.mark.slow
@fault("Data folder", "one feature is altered in the file of an interrupted computation")
def test_an_altered_feature_of_an_interrupted_computation(
    attack: Attack, run_on_features: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(features.Writer, "finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert attack(*run_on_features).status == 130
    (partial,) = Path("../data-home/features").glob(".*.partial")
    whole = partial.read_bytes()[HEADER_BYTES:]
    alter(partial, -3)
    answer = attack(*run_on_features)
    attack.shown(answer, 0, "is damaged (it was changed since it was written); computing it from the start")
    (path,) = Path("../data-home/features").glob("*.features")
    assert path.read_bytes()[HEADER_BYTES:] == whole
