"""What methods remember beside their network: a slow copy of it, and a queue of points.

All changes are in place and without gradient, so they may be part of a captured step.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def slow_copy(module: Module) -> Module:
    """Copy a module; ``follow`` moves the copy towards it."""
    return copy.deepcopy(module)


@torch.no_grad()
def follow(slow: nn.Module, module: nn.Module, momentum: float) -> None:
    """Move the parameters of a copy: momentum * slow + (1 - momentum) * module.

    He et al., CVPR 2020 (arXiv 1911.05722), equation 2. Buffers, such as batch-norm statistics, stay the copy's own.
    """
    torch._foreach_lerp_(list(slow.parameters()), list(module.parameters()), 1 - momentum)


class Queue(nn.Module):
    """The last points and their labels, newest first, at first random points of length 1 that belong to no class.

    Args:
        size: K, number of points.
        width: D, of a point.

    Attributes:
        points: [K, D].
        labels: [K] int64, -1 of a random point.
    """

    points: Tensor
    labels: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("points", F.normalize(torch.randn(size, width)))
        self.register_buffer("labels", torch.full((size,), -1))

    @torch.no_grad()
    def push(self, points: Tensor, labels: Tensor) -> None:
        """Put points in front and drop the oldest. points: [B, D], labels: [B]."""
        for own, new in ((self.points, points), (self.labels, labels)):
            own.copy_(torch.cat([new.to(own.dtype), own])[: len(own)])
