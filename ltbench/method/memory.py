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
    """The last points and their labels, at first random points of length 1 that belong to no class.

    Args:
        size: K, number of points.
        width: D, of a point.

    Attributes:
        points: [K, D].
        labels: [K] int64, -1 of a random point.
        next: [1] int64, where the next point is written.
    """

    points: Tensor
    labels: Tensor
    next: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("points", F.normalize(torch.randn(size, width)))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("next", torch.zeros(1, dtype=torch.int64))

    @torch.no_grad()
    def push(self, points: Tensor, labels: Tensor) -> None:
        """Replace the oldest B points, B at most K. points: [B, D], labels: [B]."""
        places = (self.next + torch.arange(len(points), device=points.device)) % len(self.points)
        self.points.index_copy_(0, places, points.to(self.points.dtype))
        self.labels.index_copy_(0, places, labels)
        self.next.copy_((self.next + len(points)) % len(self.points))
