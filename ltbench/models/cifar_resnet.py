"""CIFAR residual networks of He et al., CVPR 2016 (arXiv 1512.03385), section 4.2, as used in the long-tail literature:
16-32-64 channels, 6n + 2 layers, option-A shortcuts (subsample, pad with zero channels), Kaiming initialisation.

``resnet32_cifar`` with a ten-class linear head has 464,154 parameters.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels_in, H, W] -> [B, channels, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.stride > 1 or self.new_channels:
            before = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new_channels - before))
        out += x
        return F.relu(out, inplace=True)


class CifarResNet(nn.Module):
    """A residual network for small images. With ``num_classes=0`` it returns pooled features.

    Args:
        blocks: blocks per stage, the n in 6n + 2 layers.
        in_chans: number of image channels.
        num_classes: number of outputs of the linear head; 0: no head.
        width: channels of the first stage; each later stage has twice as many as the one before.
        factors: of the channels of the second and third stage, for narrower branches.
    """

    def __init__(
        self,
        blocks: int,
        in_chans: int = 3,
        num_classes: int = 0,
        width: int = 16,
        factors: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        widths = (width, round(2 * width * factors[0]), round(4 * width * factors[1]))
        self.num_features = self.head_hidden_size = widths[-1]
        self.conv1 = nn.Conv2d(in_chans, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        channels = width
        for stage, stage_width in enumerate(widths):
            for block in range(blocks):
                layers.append(BasicBlock(channels, stage_width, stride=2 if stage and not block else 1))
                channels = stage_width
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> the last feature map [B, num_features, H / 4, W / 4], as timm calls it."""
        maps: Tensor = self.layers(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] -> features [B, num_features], or logits [B, num_classes]."""
        logits: Tensor = self.fc(self.forward_features(x).mean(dim=(2, 3)))
        return logits

    def split(self, blocks: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the layers before the last ``blocks`` blocks, and these blocks with pooling."""
        last = len(self.layers) - blocks
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(self.conv1, self.bn1, nn.ReLU(inplace=True), self.layers[:last]), nn.Sequential(
            self.layers[last:], pool
        )


def _entry(name: str, blocks: int, width: int = 16) -> Any:
    def create(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
        if pretrained:
            raise ValueError(f"{name} has no pre-trained weights")
        for unused in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):  # timm passes them to every model
            kwargs.pop(unused, None)
        return CifarResNet(blocks, width=width, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__module__ = __name__
    return create


def resnet34_cifar(in_chans: int = 3, num_classes: int = 0, **kwargs: Any) -> nn.Module:
    """ResNet-34 with a 3x3 first convolution of stride 1 and no max pooling.

    As in the code of weight balancing (Alshammari et al., CVPR 2022).
    """
    import timm

    model: nn.Module = timm.create_model("resnet34", False, None, num_classes=num_classes, zero_init_last=False)
    model.conv1 = nn.Conv2d(in_chans, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


CIFAR_RESNETS = {f"resnet{6 * n + 2}_cifar": _entry(f"resnet{6 * n + 2}_cifar", n) for n in (1, 3, 5, 7, 9, 18)}
CIFAR_RESNETS |= {
    "resnet32_cifar_wide": _entry("resnet32_cifar_wide", 5, width=64),  # GLMC: 64, 128 and 256 channels
    "resnet34_cifar": resnet34_cifar,
}
