"""The commands and the code in the documents, and small images, networks and schedules to run them with."""

import csv
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SMALLER = {"resnet18": "test_resnet", "tf_efficientnet_lite0": "test_efficientnet"}
"""Networks that the pages name, and the tiny ones that take their place."""
CLASSES = ("ant", "bee", "cat")


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [command for line in lines if (command := re.sub(r" +#.*", "", line).strip())]


def blocks(page: Path) -> list[Block]:
    """Those of a page, in their order."""
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S)]


def inline(page: Path) -> Iterator[list[str]]:
    """The words of every ``ltbench`` command within the text of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for command in re.findall(r"`ltbench ([^`]+)`", text):
        yield shlex.split(" ".join(command.split()))


def small(command: str) -> list[str]:
    """The words of an ``ltbench`` command, changed so that it trains small networks on few images for a moment."""
    words = shlex.split(command)[1:]
    if words[0] not in ("run", "tune"):
        return words
    words = [re.sub(r"recipe\.backbone=.*", lambda names: _smaller(names[0]), word) for word in words]
    pretrained = any(recipe in words for recipe in ("frozen", "finetune"))
    if not any("backbone" in word for word in words):
        words += [
            "--set",
            _smaller("recipe.backbone=tf_efficientnet_lite0" if pretrained else "recipe.backbone=resnet8_cifar"),
        ]
    if "all" in words and pretrained:
        words[words.index("all")] = "ce,ride,bcl"
    if "--imbalance" not in words and not any(":" in word for word in words):
        words += ["--imbalance", "100" if "--as-published" in words or "preset" in command else "20"]
    for name in ("cifar10", "cifar100"):
        if (name in words or f"{name}-lt" in words) and "--data" not in words:
            words += ["--data", f"{name}=imagefolder:FOLDER"]
    if any(word.startswith("cifar") for word in words) and "--methods" not in words:
        words += ["--methods", "ce,crt,mislas"]
    if (words[0] == "tune" or "--tuned" in words) and "--methods" not in words:
        words += ["--methods", "ce"]
    words += ["--trials", "2"] if words[0] == "tune" else []
    return [*words, "--seeds", "1", "--workers", "1", "--set", "recipe.epochs=1", "--set", "recipe.batch_size=16"]


def _smaller(text: str) -> str:
    for name, tiny in SMALLER.items():
        text = text.replace(name, tiny)
    return text


def weights() -> dict[str, str]:
    """Write the weights of the tiny networks into the working folder, under the names in the pages.

    Returns:
        The file for the name of each repository of the Hugging Face hub.
    """
    for name, tiny in SMALLER.items():
        torch.manual_seed(3)
        save_file(timm.create_model(tiny).state_dict(), f"{name}.safetensors")
    return {f"timm/{tiny}.r160_in1k": f"{name}.safetensors" for name, tiny in SMALLER.items()}


def images() -> None:
    """Write the images, lists and tables that the pages name into the working folder."""
    for folder, each in {"photos": 14, "FOLDER": 130}.items():
        for c, name in enumerate(CLASSES):
            (Path(folder) / name).mkdir(parents=True)
            for i in range(each):
                _image(Path(folder) / name / f"{i:03}.png", c)
    Path("PATH").symlink_to("photos")
    _image(Path("IMAGE"), 0)
    files = [(f"{name}/{i:03}.png", c) for c, name in enumerate(CLASSES) for i in range(14)]
    parts = {"train": files[0::3] + files[1::3], "test": files[2::3], "val": files[2::3]}
    for root in ("IMAGENET", "inat2018"):
        Path(root).mkdir()
        for part in parts:
            (Path(root) / part).symlink_to(Path("photos").resolve())
    for part, of_part in parts.items():
        lines = [f"{part}/{file} {c}\n" for file, c in of_part]
        Path(f"ImageNet_LT_{part}.txt").write_text("".join(lines))
        listed = {
            "images": [{"id": i, "file_name": f"{part}/{file}"} for i, (file, _) in enumerate(of_part)],
            "annotations": [{"image_id": i, "category_id": c} for i, (_, c) in enumerate(of_part)],
            "categories": [{"id": c, "name": name} for c, name in enumerate(CLASSES)],
        }
        Path(f"{part}2018.json").write_text(json.dumps(listed))
    with Path("photos.csv").open("w", newline="") as file:
        rows = [(name, CLASSES[c], part) for part in ("train", "test") for name, c in parts[part]]
        csv.writer(file).writerows([("file", "species", "part"), *rows])


def _image(path: Path, c: int) -> None:
    generator = np.random.default_rng([c, *path.name.encode()])
    pixels = generator.integers(20 * c, 20 * c + 60, size=(8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
