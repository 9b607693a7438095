"""The program of an exported model: from the pixels of images to logits, without any code of ltbench or timm."""

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ltbench.engine.augment.resized import centre
from ltbench.engine.batches import Normaliser
from ltbench.engine.process import numerics
from ltbench.method.contract import Method
from ltbench.models.network import Network


class Program(nn.Module):
    """Everything between an image and the logits of a method.

    Args:
        method: after its ``setup``.
        net: trained, in evaluation mode, on the CPU.
        normalise: of the images that the network was trained on.
        side: of the central square that evaluation takes, in pixels; None: the images as they are.
    """

    def __init__(self, method: Method, net: Network, normalise: Normaliser, side: int | None) -> None:
        super().__init__()
        self.method, self.net, self.normalise, self.side = method, net, normalise, side

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [B, H, W, channels] -> logits [B, C] float32."""
        pixels = images if self.side is None else centre(images, self.side)
        return self.method.predict(self.net, self.normalise(pixels)).float()


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
