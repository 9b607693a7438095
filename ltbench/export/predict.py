"""Print the classes that an exported model predicts: ``python predict.py IMAGE ...``. Needs torch, numpy and Pillow."""

import json
import sys
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
    """Read the model of a folder."""
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return Exported(about, torch.export.load(folder / "model.pt2").module())


def pixels(path: Path, about: dict[str, Any]) -> np.ndarray:
    """An image file as the model takes it, uint8 [H, W, channels]: short side resized, then the central part."""
    height, width, channels = about["image"]
    with Image.open(path) as file:
        if file.mode.startswith(("I", "F")):
            raise SystemExit(f"{path} has 16 bits or more per pixel, which Pillow would saturate; convert it to 8 bits")
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
    model = load(Path(__file__).parent)
    for name in sys.argv[1:]:
        (found,) = probabilities(model, pixels(Path(name), model.about)[None])
        print(f"{name}\t{model.about['classes'][found.argmax()]}\t{found.max():.3f}")
