"""Chains: methods that are trained one after another. Which may follow which, and what an entry says of a chain."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ltbench.errors import InputError
from ltbench.method.contract import Method
from ltbench.method.entries import AFTER, DOUBLE, written
from ltbench.method.samplers import balances
from ltbench.models.classifiers import CLASSIFIERS
from ltbench.models.network import Network
from ltbench.randomness import seeded

WIDTH, CLASSES = 4, 3
"""Of the small heads that are compared."""
NEW_CLASSIFIER = "methods with a new classifier, such as crt, can"


class Refused(InputError):
    """Two methods that cannot be trained one after the other, or not in a meaningful way."""


def changed(methods: Sequence[Method]) -> dict[str, Any]:
    """What an entry says of the last method of a chain: ``after`` and hyper-parameters that are not the defaults."""
    *earlier, own = methods
    found: dict[str, Any] = {}
    if earlier and (before := written(earlier[-1].name, changed(earlier))) != own.after:
        found[AFTER] = before
        if not own.double_correction and len(corrections(methods)) > 1:
            found[DOUBLE] = True
    return found | {k: v for k, v in own.hyperparameters.items() if v != own.space()[k].default}


def corrections(methods: Sequence[Method]) -> list[str]:
    """How a chain corrects the class prior; more than one is a double correction.

    New heads and networks remove what was corrected before them. Balanced samplers count once: a classifier that was
    trained on balanced batches does not change much on further ones.
    """
    found: dict[str, str] = {}
    for method in methods:
        for stage in method.stages():
            if stage.new_heads or stage.new_network:
                found = {}
            stream, main = next(iter(method.streams_of(stage).items()))
            if stage.epochs and balances(main):
                found["sampler"] = f"the sampler of stream '{stream}' ({method.name})"
            if method.corrects:
                found[method.name] = f"{method.corrects} ({method.name})"
    return list(found.values())


def check_chosen(methods: Sequence[Method], double: bool) -> None:
    """Check that the last method of a chain may follow the others, where an entry has chosen so.

    Args:
        double: whether the entry allows a second correction of the class prior.

    Raises:
        Refused: with the reason.
    """
    before, own = methods[-2:]
    why = _why_not(before, own)
    found = corrections(methods)
    if not why and len(found) > 1 and not (double or own.double_correction):
        why = f"corrects the class prior twice, by {' and '.join(found)}; add {DOUBLE}=true if you mean it"
    if why:
        raise Refused(f"{written(own.name, {AFTER: written(before.name, changed(methods[:-1]))})}: {why}", own.name)


def _why_not(before: Method, own: Method) -> str:
    """Why a method cannot continue from the network of another; empty where it can."""
    if _layout(before) != _layout(own):
        return (
            f"{before.name} has {before.branches} branches with features of their own, and {own.name} has "
            f"{own.branches}; name a method with the same ones"
        )
    if type(before).rebuild not in (Method.rebuild, type(own).rebuild):
        return f"{before.name} changes the backbone, and {own.name} does not do so; name another method"
    if own.stages()[0].new_heads:
        if before.after is None or any(_trains_features(before)):
            return ""
        return f"{before.name} trains a classifier only, which {own.name} replaces; name the method of the features"
    with seeded(0):
        heads = {name: before.build_head(name, WIDTH, CLASSES) for name in before.heads}
        old, new = heads[before.heads[0]], own.build_head(own.heads[0], WIDTH, CLASSES)
    if not isinstance(new, type(old)) or not _shapes(old).items() <= _shapes(new).items():
        lengths = ", which has no bias and ignores the lengths of its weights" if _kind(old) == "cosine" else ""
        return (
            f"{before.name} has a {_kind(old)} classifier{lengths}, and {own.name} cannot continue it as a "
            f"{_kind(new)} one; {NEW_CLASSIFIER}"
        )
    if type(before).predict is not Method.predict and not _predicts_with_first_head(before, heads):
        return f"{before.name} does not predict with its first head, which {own.name} continues; {NEW_CLASSIFIER}"
    return ""


def _layout(method: Method) -> tuple[int, str, float]:
    """The branches of a method's backbone."""
    return method.branches, method.branches_own, method.branches_width


def _trains_features(method: Method) -> list[bool]:
    """For each stage of a method, whether it trains more than heads."""
    trained = [stage.trains if stage.epochs else "heads" for stage in method.stages()]
    return [t == "all" if isinstance(t, str) else any(not p.startswith("heads.") for p in t) for t in trained]


def _shapes(head: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in head.state_dict().items()}


def _kind(head: nn.Module) -> str:
    """What the contract calls a kind of classifier, or its class."""
    return next((kind for kind, made in CLASSIFIERS.items() if type(head) is made), type(head).__name__)


def _predicts_with_first_head(method: Method, heads: dict[str, nn.Module]) -> bool:
    """Whether a method's logits are those of its first head, on a few numbers."""
    net = Network(nn.Flatten(), heads).eval()
    images = torch.arange(2.0 * WIDTH).cos().reshape(2, 1, 2, 2)
    with torch.no_grad():
        method.setup(torch.tensor([30.0, 20.0, 10.0], dtype=torch.float64))
        return torch.equal(method.predict(net, images), net(images))
