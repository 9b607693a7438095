"""Writes the file that a new method starts from."""

import keyword
import re
from pathlib import Path
from string import Template

import ltbench
from ltbench.errors import InputError
from ltbench.method.registry import discover

TEMPLATE = Template('''"""$title: what the method does, in one sentence.

Authors: Title, venue and year, arXiv id, number of the equation: the formula that matters.
Deviation: where this code differs from the paper; "none" where it does not.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range


class $class_name(Method):
    """Cross-entropy on logits shifted by the log prior (replace this: `ltbench ls methods` prints it)."""

    strength = Range(1.0, 0.0, 2.0)  # a hyper-parameter: default, lowest and highest value that tuning tries
    corrects = "log prior in the logits"  # how the class prior is corrected; delete this line if it is not
    # Other attributes, with their defaults, are listed in docs/adding-a-method.md. Examples:
    # streams = {"main": class_balanced}  the sampler of the training images; several streams are allowed
    # after = "ce"                        start from the trained network of another method
    # cost = 2.0                          forward-backward passes per image, relative to `ce`

    def setup(self, counts: Tensor) -> None:
        """Create the tensors that the loss needs, before each stage.

        counts: training images per class [C], float64, on the device.
        """
        self.shift = self.strength * (counts / counts.sum()).log().float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Return the loss of one step, 0-dim. Do not read values on the host: no `if` on a tensor, no `.item()`.

        batch.images: [B, channels, H, W]; batch.labels: [B]; net(batch.images): logits [B, C];
        clock.progress: a tensor that grows from 0 to 1 during training.
        """
        return F.cross_entropy(net(batch.images).float() + self.shift, batch.labels)
''')


def write_method(name: str, folder: Path) -> Path:
    """Write NAME.py into a folder, which is created if it does not exist; returns the file.

    Raises:
        InputError: for a name that is not allowed or already used, and where the file exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"'{name}' cannot be the name of a method; allowed: lower-case letters, digits and underscores, a letter "
            "first, and no Python keyword",
            name,
        )
    file = folder / f"{name}.py"
    if file.exists():
        raise InputError(f"{file} exists already; choose another name, or edit it and run ltbench check {name}", name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; choose one with --methods-dir DIR", str(folder))
    registry = discover([folder] if folder.is_dir() else [])
    if name in registry or name in registry.broken:
        raise InputError(f"method '{name}' exists already; choose another name than those of ltbench ls methods", name)
    folder.mkdir(parents=True, exist_ok=True)
    words = [word for word in name.split("_") if word]
    class_name = "".join(word.capitalize() for word in words)
    if class_name in ltbench.__all__ or class_name == "Tensor":  # the file imports these
        class_name += "Method"
    file.write_text(TEMPLATE.substitute(title=" ".join(words).capitalize(), class_name=class_name), encoding="utf-8")
    return file
