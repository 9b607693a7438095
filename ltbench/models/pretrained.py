"""Pretrained weights of a backbone: the file, what it is called, and how its images are prepared."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.errors import InputError, one_line
from ltbench.models.cifar_resnet import CIFAR_RESNETS

SUFFIX = ".safetensors"
SETS = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "ig1b": "Instagram-1B",
    "yfcc15m": "YFCC-15M",
    "yfcc100m": "YFCC-100M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "openai": "OpenAI's image-text pairs",
    "webli": "WebLI",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "datacomp": "DataComp",
    "metaclip": "MetaCLIP",
    "merged2b": "Merged-2B",
    "inat21": "iNaturalist 2021",
}
"""Parts of timm's tags that name a data set."""


@dataclass(frozen=True)
class Weights:
    """Pretrained weights.

    Attributes:
        name: of timm's configuration, such as ``resnet18.a1_in1k``.
        file: on this machine.
        digest: first twelve digits of the SHA-256 hash of the file.
        mean, std: of each channel, in [0, 1]; None: those of the data set.
        interpolation: how images are resized.
        crop: side of the centre that is evaluated, as a share of the side of the resized image.
        side: pixels of the images of the pretraining.
        fixed: whether the network takes no other side.
    """

    name: str
    file: Path
    digest: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bilinear"
    crop: float = 1.0
    side: int = 32
    fixed: bool = False

    def __str__(self) -> str:
        """Name and hash, as tables show them."""
        return f"{self.name}#{self.digest[:6]}"

    @property
    def data(self) -> str:
        """The data sets of the pretraining, as timm's tag names them."""
        parts = self.name.partition(".")[2].split("_")
        return ", ".join(SETS[part] for part in parts if part in SETS) or "unknown"

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation of each channel; for grey images the mean over the colours; None: the data's."""
        if self.mean is None or self.std is None or channels == len(self.mean):
            return (self.mean, self.std) if self.mean is not None and self.std is not None else None
        return (sum(self.mean) / len(self.mean),) * channels, (sum(self.std) / len(self.std),) * channels


def find_weights(backbone: str, given: bool | str) -> Weights | None:
    """The weights that a recipe names, from a file or through timm's hub; None where it names none.

    Args:
        backbone: a name of ``backbone_names()``, also with a tag of timm (``resnet18.a1_in1k``).
        given: False; True: the weights of timm's configuration; a path: this file.

    Raises:
        InputError: for a file that is missing or not a safetensors file, a backbone without such weights, and if they
            cannot be downloaded.
    """
    if given is False:
        return None
    if given is True:
        path = _hub_file(backbone)
    else:
        path = Path(given).expanduser()
        if path.suffix != SUFFIX:
            raise InputError(
                f"recipe.pretrained={given} is not a {SUFFIX} file; give one, such as safetensors.torch.save_file "
                "writes, or true for the weights of timm"
            )
    try:
        found = path.stat()
        return _weights(backbone, path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise InputError(f"weights {path} cannot be read ({error.strerror}); correct recipe.pretrained") from error


@functools.lru_cache(maxsize=16)
def _weights(backbone: str, path: Path, _size: int, _changed: int) -> Weights:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    if backbone in CIFAR_RESNETS:
        return Weights(backbone, path, digest)
    config = _config(backbone)
    return Weights(
        f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture),
        path,
        digest,
        tuple(config.mean),
        tuple(config.std),
        config.interpolation,
        config.crop_pct,
        config.input_size[-1],
        config.fixed_input_size,
    )


def _config(backbone: str) -> Any:
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(backbone)
    if config is None:
        raise InputError(f"timm has no weights '{backbone}'; timm.list_pretrained() lists them", backbone)
    return config


@functools.cache
def _hub_file(backbone: str) -> Path:
    """The file of timm's weights: downloaded, if it was not before."""
    if backbone in CIFAR_RESNETS:
        raise InputError(
            f"backbone '{backbone}' has no published weights; set recipe.pretrained=PATH{SUFFIX}", "pretrained"
        )
    config = _config(backbone)
    if not config.hf_hub_id:
        raise InputError(
            f"timm has no weights of backbone '{backbone}' on its hub; set recipe.pretrained=PATH{SUFFIX} or another "
            "recipe.backbone",
            "pretrained",
        )
    import huggingface_hub

    name = config.hf_hub_filename or f"model{SUFFIX}"
    for only_local in (True, False):  # nothing is asked of the network where the file is already here
        try:
            return Path(huggingface_hub.hf_hub_download(config.hf_hub_id, name, local_files_only=only_local))
        except Exception as error:  # whatever the layers of the network raise
            failed = error
    raise InputError(
        f"the weights of backbone '{backbone}' cannot be downloaded ({one_line(failed)}); bring the file {name} of "
        f"{config.hf_hub_id} here and set recipe.pretrained=PATH{SUFFIX}",
        "pretrained",
    ) from failed


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, by name.

    Raises:
        InputError: for a damaged file, one without tensors, and one with a number that is not finite.
    """
    from timm.models import load_state_dict

    try:
        values: dict[str, Tensor] = load_state_dict(str(path))
    except Exception as error:  # the readers raise many types
        raise InputError(f"weights {path} cannot be read ({one_line(error)}); bring the file again") from error
    if not values:
        raise InputError(f"weights {path} has no tensors; bring another file")
    for name, value in values.items():
        if not torch.isfinite(value).all():
            raise InputError(f"weights {path}: {name} has numbers that are not finite; bring another file")
    return values


def pretrained_backbone(name: str, channels: int, options: Mapping[str, Any], path: Path) -> nn.Module:
    """Build a backbone without a head from its weights: images [B, channels, H, W] -> features [B, D].

    timm adapts the weights of the first layer to the number of channels, and position embeddings to the size. The keys
    of the classifier are dropped; every other key must fit.

    Args:
        name: one of ``backbone_names()``.
        channels: number of image channels.
        options: further arguments of the model, such as ``img_size``.
        path: of the weights.

    Raises:
        InputError: for a damaged file, and for missing or unexpected keys.
    """
    from timm.models import adapt_input_conv, create_model

    values = read_weights(path)
    try:
        if name in CIFAR_RESNETS:
            for key in ("fc.weight", "fc.bias"):
                values.pop(key, None)
            if "conv1.weight" in values:
                values["conv1.weight"] = adapt_input_conv(channels, values["conv1.weight"])
            model: nn.Module = CIFAR_RESNETS[name](in_chans=channels)
            model.load_state_dict(values)
            return model
        config = _config(name)
        first = config.classifier if isinstance(config.classifier, str) else next(iter(config.classifier or ()), "")
        head = values.get(f"{first}.weight")
        classes = 0 if head is None else len(head)
        # with as many classes as the file has, timm checks every key
        overlay = {"file": str(path), "num_classes": classes, "label_offset": 0, "custom_load": False}
        model = create_model(
            name, pretrained=True, num_classes=classes, in_chans=channels, pretrained_cfg_overlay=overlay, **options
        )
    except RuntimeError as error:
        raise InputError(
            f"weights {path} do not fit backbone '{name}' ({_differences(name, values) or one_line(error)}); bring its "
            "own weights, or set another recipe.backbone"
        ) from error
    reset: Any = model
    reset.reset_classifier(0)
    return model


def _differences(name: str, values: Mapping[str, Tensor]) -> str:
    """What of a file does not fit a backbone, in words."""
    from timm.models import create_model

    own = (CIFAR_RESNETS[name]() if name in CIFAR_RESNETS else create_model(name)).state_dict()
    shapes = [key for key in own.keys() & values.keys() if own[key].shape != values[key].shape]
    found = {
        "missing": sorted(own.keys() - values.keys()),
        "unexpected": sorted(values.keys() - own.keys()),
        "of another shape": sorted(shapes),
    }
    further = {what: f" and {len(keys) - 1} more" if keys[1:] else "" for what, keys in found.items()}
    return ", ".join(f"{what}: {keys[0]}{further[what]}" for what, keys in found.items() if keys)
