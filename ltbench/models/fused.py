"""Experts of different depths (Jin et al., CVPR 2023, arXiv 2304.01279, depth-wise knowledge fusion)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltbench.models.network import Branched


def layers_of(trunk: nn.Module) -> tuple[list[nn.Module], list[int]]:
    """The shared layers of a residual network, in order, and the places at which its stages end."""
    parts = dict(trunk.named_children())
    if "layer1" in parts:
        return list(parts.values()), [i for i, name in enumerate(parts) if name.startswith("layer")]
    *stem, blocks = parts.values()
    both = len(list(blocks.children()))
    return [*stem, *blocks.children()], [len(stem) + both // 2 - 1, len(stem) + both - 1]


def aligning(widths: Sequence[int]) -> nn.Sequential:
    """A convolution of stride 2 from each of these numbers of channels to the next one.

    As in ``networks.py`` of jinyan-06/SHIKE, there is no ReLU after the second one, and weights begin as PyTorch's.
    """
    layers: list[nn.Module] = []
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), *([nn.ReLU(inplace=True)] if k != 1 else [])]
    return nn.Sequential(*layers)


class Fused(Branched):
    """Experts that multiply the feature map of their own last stage with that of a shared stage.

    Expert k uses shared stage k, or starts again at the first one, after as many convolutions of stride 2 as there are
    stages between. Images [B, channels, H, W] -> features [B, K, D].

    Args:
        trunk: the shared stages of a residual network.
        tails: the last stage with pooling of each expert.
    """

    def __init__(self, trunk: nn.Module, tails: list[nn.Module]) -> None:
        super().__init__(trunk, tails)
        first = next(layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            stages = self.stages(torch.zeros(1, first.in_channels, 32, 32))
            widths = [x.shape[1] for x in [*stages, next(tails[0].children())(stages[-1])]]
        self.shallow = nn.ModuleList(aligning(widths[k % len(stages) :]) for k in range(len(tails)))

    def stages(self, images: Tensor) -> list[Tensor]:
        """Compute the output of each shared stage."""
        layers, ends = layers_of(self.trunk)
        found = []
        for i, layer in enumerate(layers):
            images = layer(images)
            if i in ends:
                found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, K, D]."""
        stages = self.stages(images)
        features = []
        for k, (tail, shallow) in enumerate(zip(self.tails, self.shallow, strict=True)):
            last, pool = tail.children()
            features.append(pool(last(stages[-1]) * shallow(stages[k % len(stages)])))
        return torch.stack(features, dim=1)
