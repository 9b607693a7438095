"""The network of a run: a backbone with one or more heads on its features."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ltbench.errors import InputError, one_line
from ltbench.models.backbones import Part, build_backbone, split_backbone
from ltbench.randomness import key, seeded


class Network(nn.Module):
    """A backbone with named heads. Called on images, it returns the logits of its first head.

    With K branches, the backbone has one ``trunk`` and K copies of its last layers, ``tails[0]`` to ``tails[K - 1]``;
    head k uses the features of branch k.

    Args:
        backbone: images [B, channels, H, W] -> features [B, D], or a `Branched` one.
        heads: the heads by name; the first one predicts.

    Attributes:
        run: runs the backbone, or a part of it, on its input. Every forward pass of the backbone goes through this
            function, so that another one may take its place: compiled, or computing the features of several networks.
        memory: what a method remembers during a stage; it is neither trained nor stored with the network.
    """

    run: Callable[[nn.Module, Tensor], Tensor]
    memory: nn.Module

    def __init__(self, backbone: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)
        self.first = next(iter(heads))
        self.run = run_part
        self.remember(nn.Module())

    def remember(self, memory: nn.Module) -> None:
        """Set ``memory``, without gradients."""
        object.__setattr__(self, "memory", memory.requires_grad_(False))  # else torch would make it a part

    def features(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> features [B, D], or [B, K, D] with K branches."""
        return self.run(self.backbone, images)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> logits [B, C] of the first head."""
        logits: Tensor = self.heads[self.first](self.features(images))
        return logits

    def experts(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> logits [K, B, C] of every head, from the features of its own branch."""
        features = self.features(images).unbind(1)
        return torch.stack([head(x) for head, x in zip(self.heads.values(), features, strict=True)])

    def trunk(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] -> features [B, channels', H', W'] that the branches share."""
        return self.run(self.backbone.get_submodule("trunk"), images)

    def tail(self, branch: int, shared: Tensor) -> Tensor:
        """Shared features from ``trunk`` -> features [B, D] of one branch."""
        return self.run(self.backbone.get_submodule(f"tails.{branch}"), shared)

    @contextlib.contextmanager
    def batch_norm_untracked(self) -> Iterator[None]:
        """Context in which batch norm in training mode does not update its running statistics."""
        layers = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for layer in layers:
            layer.track_running_stats = False
        try:
            yield
        finally:
            for layer in layers:
                layer.track_running_stats = True


def run_part(part: nn.Module, images: Tensor) -> Tensor:
    """Run a backbone or a part of it: its input [B, ...] -> its output [B, ...]."""
    output: Tensor = part(images)
    return output


class Branched(nn.Module):
    """A backbone with K copies of its last layers. Images [B, channels, H, W] -> features [B, K, D]."""

    def __init__(self, trunk: nn.Module, tails: list[nn.Module]) -> None:
        super().__init__()
        self.trunk = trunk
        self.tails = nn.ModuleList(tails)

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, K, D]."""
        shared = self.trunk(images)
        return torch.stack([tail(shared) for tail in self.tails], dim=1)


Rebuild = Callable[[nn.Module], nn.Module]
"""Changes a backbone, see ``Method.rebuild``, for a number of classes."""


def initialised_backbone(
    name: str,
    channels: int,
    size: tuple[int, int],
    seeds: list[int],
    own: Part = "last stage",
    branches_width: float = 1.0,
    weights: Path | None = None,
    rebuild: Rebuild | None = None,
) -> tuple[nn.Module, int]:
    """Build a backbone with one branch per seed.

    Args:
        name: one of ``backbone_names()``.
        channels: number of image channels, 1 or 3.
        size: H, W of an image.
        seeds: one for the initialisation of each branch; the first one also initialises the shared layers.
        own: the part of the backbone of which each of several branches has a copy.
        branches_width: factor of the channels of the stages in this part; 1 with ``weights``, which fit no other.
        weights: file of pretrained weights, with which all branches start; None: initialised by the seeds.
        rebuild: changes the backbone at last; the first seed initialises what it adds.

    Returns:
        The backbone, and the width D of its features.

    Raises:
        InputError: if the model does not accept images of this size, cannot be split into branches, or has other
            weights; and what ``rebuild`` raises.
    """
    backbone, width = _initialised(name, channels, size, seeds[0], weights)
    if len(seeds) > 1:
        trunk, tails = split_backbone(backbone, name, own)[0], []
        for seed in seeds:
            narrower, width = _initialised(
                name, channels, size, seed, weights, own, branches_width if weights is None else 1
            )
            tails.append(split_backbone(narrower, name, own)[1])
        backbone = Branched(trunk, tails)
    if rebuild is not None:
        with seeded(key(seeds[0], "rebuild")):
            backbone = rebuild(backbone)
        width = _width(backbone, torch.zeros(2, channels, *size))
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.num_batches_tracked = None  # an unused counter: one GPU kernel less per layer and step
    return backbone, width


def _width(rebuilt: nn.Module, images: Tensor) -> int:
    """The width of the features that a changed backbone gives for images [B, channels, H, W].

    Raises:
        InputError: for what is no backbone.
    """
    if not isinstance(rebuilt, nn.Module):
        raise InputError(f"rebuild() returns {rebuilt}; return the backbone")
    with torch.no_grad():
        shape = rebuilt.eval()(images).shape
    if len(shape) not in (2, 3):
        raise InputError(f"rebuild() gives features of shape {tuple(shape)}; give [B, D], or [B, K, D] for K heads")
    return int(shape[-1])


def _initialised(
    name: str,
    channels: int,
    size: tuple[int, int],
    seed: int,
    weights: Path | None,
    own: Part = "last stage",
    branches_width: float = 1.0,
) -> tuple[nn.Module, int]:
    with seeded(seed):
        backbone = build_backbone(name, channels, size, own, branches_width, weights)
        try:
            with torch.no_grad():
                features = backbone.eval()(torch.zeros(2, channels, *size))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise InputError(
                f"backbone '{name}' does not take images of {size[0]}x{size[1]} pixels ({one_line(error)}); "
                "set recipe.image_size or another recipe.backbone"
            ) from error
    if features.ndim != 2:
        shape = tuple(features.shape)
        raise InputError(f"backbone '{name}' gives features of shape {shape}, not [B, D]; set another recipe.backbone")
    return backbone, features.shape[1]
