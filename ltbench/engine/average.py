"""The average of a network over its training, which takes the network's place when it is evaluated and at the end."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ltbench.method.contract import Stage
from ltbench.plan.recipe import Recipe


class Average:
    """An average of parameters and statistics: after every step (`Recipe.ema_decay`), or after every epoch from one on.

    Args:
        net: the network in training.
        stage, recipe: say which average it is; the stage's replaces the recipe's.
        epochs: of the stage.

    Attributes:
        decay: factor on the past in every step; None: no such average.
        first: the first epoch (from 0) whose weights count, all with the same share; None: no such average.
        live, values: parameters and statistics of the network, and their average; empty without an average.
    """

    def __init__(self, net: nn.Module, stage: Stage, recipe: Recipe, epochs: int) -> None:
        self.decay = recipe.ema_decay if stage.average_from is None else None
        self.first = None if stage.average_from is None else min(round(stage.average_from * epochs), epochs - 1)
        of_net = () if self.decay is None and self.first is None else net.state_dict().values()
        self.live = [value for value in of_net if value.is_floating_point()]
        self.values = [value.clone() for value in self.live]

    def after_step(self) -> None:
        """Count the weights after a step. It may be captured."""
        if self.decay is not None:
            torch._foreach_lerp_(self.values, self.live, 1 - self.decay)

    def after_epoch(self, epoch: int) -> None:
        """Count the weights after an epoch (from 0)."""
        if self.first is not None and epoch >= self.first:
            torch._foreach_lerp_(self.values, self.live, 1 / (epoch - self.first + 1))

    def begun(self, done: int) -> bool:
        """Whether there is an average after so many epochs."""
        return self.decay is not None or (self.first is not None and done > self.first)

    def take(self) -> None:
        """Replace the network in training by its average."""
        for own, value in zip(self.live, self.values, strict=True):
            own.copy_(value)

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Put the network in training back at the end."""
        before = [value.clone() for value in self.live]
        yield
        for own, value in zip(self.live, before, strict=True):
            own.copy_(value)


def count_statistics(net: nn.Module, forward: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Compute the running statistics of batch norm again, as means over forward passes of batches in training mode.

    An average of weights has no statistics of its own (Izmailov et al., UAI 2018, arXiv 1803.05407, section 3.2).
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    usual = [layer.momentum for layer in layers]
    net.train()
    for number, images in enumerate(batches if layers else (), 1):
        for layer in layers:
            layer.momentum = 1 / number
        forward(images)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum
