"""The program of an exported model: from the pixels of images to logits, without any code of ltbench or timm."""

import importlib.util
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ltbench.engine.augment.resized import centre
from ltbench.engine.batches import Normaliser
from ltbench.engine.process import numerics
from ltbench.errors import InputError
from ltbench.method.contract import Method
from ltbench.models.network import Network


class FrozenFeatures(nn.Module):
    """The frozen backbone of a network that was trained on features.

    Args:
        backbone: in evaluation mode, on the CPU.
        normalise: of its images.
    """

    def __init__(self, backbone: nn.Module, normalise: Normaliser) -> None:
        super().__init__()
        self.backbone, self.normalise = backbone, normalise

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [B, H, W, channels] -> features [B, 1, 1, D]."""
        features: Tensor = self.backbone(self.normalise(images))
        return features[:, None, None]


class Program(nn.Module):
    """Everything between an image and the logits of a method.

    Args:
        method: after its ``setup``.
        net: trained, in evaluation mode, on the CPU.
        normalise: of the images or features that the network was trained on.
        side: of the central square that evaluation takes, in pixels; None: the images as they are.
        frozen: computes the features that the network was trained on; None: it was trained on images.
    """

    def __init__(
        self, method: Method, net: Network, normalise: Normaliser, side: int | None, frozen: FrozenFeatures | None
    ) -> None:
        super().__init__()
        self.method, self.net, self.normalise, self.side, self.frozen = method, net, normalise, side, frozen

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [B, H, W, channels] -> logits [B, C] float32."""
        pixels = images if self.side is None else centre(images, self.side)
        seen = pixels if self.frozen is None else self.frozen(pixels)
        return self.method.predict(self.net, self.normalise(seen)).float()


def write_onnx(traced: ExportedProgram, path: Path) -> None:
    """Write the operations of a program as ONNX: input ``images``, output ``logits``.

    Raises:
        InputError: where the packages for it are not installed.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise InputError("ONNX needs the packages onnx and onnxscript; install them with pip install 'ltbench[onnx]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        made = torch.onnx.export(traced, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
    assert made is not None
    made.save(path)


def traced(program: Program, image: tuple[int, int, int]) -> ExportedProgram:
    """The operations of a program, for any number of images.

    Args:
        program: in evaluation mode.
        image: height, width and channels.
    """
    example = torch.zeros(2, *image, dtype=torch.uint8)
    with torch.no_grad(), numerics(strict=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        return torch.export.export(program, (example,), dynamic_shapes=({0: Dim("batch", min=1)},))
