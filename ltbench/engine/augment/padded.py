"""Images on the training device: one uint8 tensor, batches by one index into it."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class Normaliser:
    """uint8 [B, H, W, channels] -> normalised float32 [B, channels, H, W] in channels-last layout.

    Args:
        mean, std: per channel, in [0, 1].
        device: of the images.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self.shift = torch.tensor(mean, dtype=torch.float32, device=device) * 255
        self.scale = 1 / (torch.tensor(std, dtype=torch.float32, device=device) * 255)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(pixel / 255 - mean) / std."""
        return pixels.float().sub_(self.shift).mul_(self.scale).permute(0, 3, 1, 2)


class Resident:
    """A training set on the device, padded once and with a mirrored copy, so that crop and flip are an index.

    The crop is that of the usual recipe: black pixels are padded on every side and a window of the old size is taken.

    Args:
        images: [N, H, W, channels] uint8.
        labels: [N] int64.
        device: where they will lie.
        crop_padding: pixels padded on each side.
        flip: whether the mirrored copy is needed.
    """

    rows = 4
    eager_only = ""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        device: torch.device,
        crop_padding: int,
        flip: bool,
    ) -> None:
        pixels = torch.tensor(images, device=device)
        height, width = pixels.shape[1:3]
        pad = crop_padding
        copies = torch.stack([pixels, pixels.flip(2)]) if flip else pixels[None]
        padded = F.pad(copies, (0, 0, pad, pad, pad, pad))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [copies, N, tops, lefts, channels, H, W]
        self.windows = windows.permute(0, 1, 2, 3, 5, 6, 4)
        self.labels = torch.tensor(labels, device=device)

    def begin(self, drawn: Tensor, batch_size: int) -> None:
        """Nothing to prepare for an epoch."""

    def batch(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, H, W, channels] and labels [B] for the columns [rows, B] of a plan."""
        mirrored, index, top, left = plan[: self.rows].unbind()
        return self.windows[mirrored, index, top, left], self.labels[index]
