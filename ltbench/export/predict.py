"""Print the classes that an exported model predicts: ``python predict.py IMAGE ...``. Needs torch, numpy and Pillow."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image


class Exported(NamedTuple):
    """A model from a folder: its facts, and a program from uint8 images [B, H, W, channels] to logits [B, C]."""

    about: dict[str, Any]
    program: Any


def load(folder: Path) -> Exported:
    """Read the model of a folder. This runs code in ``model.pt2``: load only models of people whom you trust.

    Raises:
        ValueError: where ``model.pt2`` was changed, and where ``model.json`` is not the one that it was exported with.
    """
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        if changed := archive.testzip():
            raise ValueError(f"model.pt2 was changed since it was written: {changed}")
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    inside = {"model.json": "{}"}
    program = torch.export.load(folder / "model.pt2", extra_files=inside)
    own = json.loads(inside["model.json"])
    if differ := [name for name in {**own, **about} if own.get(name) != about.get(name)]:
        raise ValueError(f"model.json and model.pt2 are of different models: they have other {', '.join(differ)}")
    return Exported(about, program.module())


def pixels(path: Path, about: dict[str, Any]) -> np.ndarray:
    """An image file as the model takes it, uint8 [H, W, channels]: short side resized, then the central part.

    Raises:
        ValueError: for an image of more than 8 bits per channel.
    """
    height, width, channels = about["image"]
    with Image.open(path) as file:
        if file.mode.startswith(("I", "F")):
            raise ValueError(f"{path.name} has 16 bits or more per pixel; convert it to 8 bits")
        image = file.convert("RGB")
    if image.size != (width, height):
        scale = max(width / image.width, height / image.height)
        size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        kind = Image.Resampling[about["interpolation"].upper()]
        image = image.resize(size, kind).crop((left, top, left + width, top + height))
    return np.array(image)[..., :channels]


def probabilities(model: Exported, images: np.ndarray) -> np.ndarray:
    """Probabilities [B, C] of images uint8 [B, H, W, channels]."""
    with torch.inference_mode():
        logits = model.program(torch.from_numpy(images))
    return torch.softmax(logits.double(), dim=1).numpy()


class Served(NamedTuple):
    """An exported model as MLflow calls it."""

    model: Exported

    def predict(self, images: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Probabilities [B, C] of images uint8 [B, H, W, channels]."""
        return probabilities(self.model, images)


def _load_pyfunc(folder: str) -> Served:
    """The model of a folder, by the name that MLflow calls."""
    return Served(load(Path(folder)))


if __name__ == "__main__":
    try:
        model = load(Path(__file__).parent)
        for name in sys.argv[1:]:
            (found,) = probabilities(model, pixels(Path(name), model.about)[None])
            print(f"{name}\t{model.about['classes'][found.argmax()]}\t{found.max():.3f}")
    except ValueError as error:
        raise SystemExit(str(error)) from None
