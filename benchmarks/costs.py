"""Passes and parameters of methods, as Markdown: ``python -m benchmarks.costs [--backbone NAME] [METHOD ...]``.

Passes are floating-point operations of all stages relative to plain training, as ``ltbench check`` counts them on a
ResNet-32. Parameters are those of a network for 100 classes, with all heads and branches; what a method remembers
beside it, such as a momentum encoder, is trained by no gradient and not stored.
"""

import argparse
import functools
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from benchmarks.methods_page import table
from ltbench.check.steps import cost
from ltbench.check.subject import Broken, Subject
from ltbench.method.contract import Method
from ltbench.method.registry import Registry, discover
from ltbench.models.network import Network, initialised_backbone

CLASSES = 100
HEAD = ("method", "passes", "parameters of the network", "numbers remembered beside it")


def rows(names: Iterable[str], registry: Registry, backbone: str) -> Iterator[tuple[str, ...]]:
    """A row for each method, in the columns of ``HEAD``."""
    for name in names:
        try:
            passes = cost(Subject.of(registry, name, torch.device("cpu")))
        except Broken as why:
            passes = f"**{why}**"
        own, beside = sizes(registry[name].method(), backbone)
        yield name, passes, f"{own:,}", f"{beside:,}" if beside else ""


def sizes(method: Method, backbone: str) -> tuple[int, int]:
    """Parameters of the network of a method, and the real numbers that it remembers beside it."""
    parts = method.branches_own, method.branches_width
    seeds = list(range(method.branches))
    rebuild = functools.partial(method.rebuild, classes=CLASSES)
    body, width = initialised_backbone(backbone, 3, (32, 32), seeds, *parts, rebuild=rebuild)
    net = Network(body, {name: method.build_head(name, width, CLASSES) for name in method.heads})
    memory = method.build_memory(net, torch.full((CLASSES,), 100.0, dtype=torch.float64))
    buffers = (value for value in memory.buffers() if value.is_floating_point())
    return parameters(net), parameters(memory) + sum(value.numel() for value in buffers)


def parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(value.numel() for value in module.parameters())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="resnet32_cifar")
    parser.add_argument("methods", nargs="*")
    asked, found = parser.parse_args(), discover()
    print(table(HEAD, rows(asked.methods or found, found, asked.backbone)))
