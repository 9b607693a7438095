"""Backbones with branches: which layers they share, and the numbers of parameters in the authors' codes."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from ltbench import InputError, Network
from ltbench.method.registry import discover
from ltbench.models.backbones import Part
from ltbench.models.network import initialised_backbone

METHODS = {name: entry.method for name, entry in discover().items()}


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def network(name: str, classes: int, backbone: str = "resnet32_cifar") -> Network:
    """A method's network for colour images of 32x32 pixels."""
    method = METHODS[name]()
    seeds = list(range(method.branches))
    body, width = initialised_backbone(backbone, 3, (32, 32), seeds, method.branches_own, method.branches_width)
    return Network(body, {head: method.build_head(head, width, classes) for head in method.heads})


def convolution(channels_in: int, channels: int) -> int:
    """Weights of a 3x3 convolution without bias, and of the batch norm after it."""
    return 9 * channels_in * channels + 2 * channels


def stage(channels_in: int, channels: int, blocks: int = 5) -> int:
    """Blocks of two convolutions with option-A shortcuts, which have no parameters."""
    return convolution(channels_in, channels) + (2 * blocks - 1) * convolution(channels, channels)


STEM = convolution(3, 16) + stage(16, 16)


def test_the_shared_part_of_experts_is_the_stem_and_the_first_stage() -> None:
    assert STEM == 23_824
    for name in ("ride", "sade", "balpoe", "ensemble_balanced_softmax"):
        assert parameters(network(name, 10).backbone.get_submodule("trunk")) == STEM


@pytest.mark.parametrize("name", ["ride", "sade"])
def test_three_experts_of_24_and_48_channels(name: str) -> None:
    """``ResNet_s`` with ``reduce_dimension``, ``use_norm`` and 3 experts in ride_resnet_cifar.py of RIDE's code and in
    expert_resnet_cifar.py of SADE's."""
    expert = stage(16, 24) + stage(24, 48) + 100 * 48
    assert expert == 253_344
    assert parameters(network(name, 100)) == STEM + 3 * expert == 783_856


def test_three_experts_of_the_usual_width() -> None:
    """``ResNet_s`` with ``use_norm``, without ``reduce_dimension``, in expert_resnet_cifar.py of BalPoE's code."""
    expert = stage(16, 32) + stage(32, 64) + 100 * 64
    assert expert == 446_080
    assert parameters(network("balpoe", 100)) == STEM + 3 * expert == 1_362_064
    assert parameters(network("ensemble_balanced_softmax", 100)) == STEM + 3 * (expert + 100)  # linear: with a bias


def test_bbn_doubles_the_last_block() -> None:
    """``BBN_ResNet_Cifar`` in resnet_cifar.py of BBN's code: four blocks in the third stage, then two single blocks."""
    shared = STEM + stage(16, 32) + stage(32, 64, blocks=4)
    block = stage(64, 64, blocks=1)
    net = network("bbn", 10)
    assert parameters(net.backbone.get_submodule("trunk")) == shared == 389_520
    assert parameters(net) == shared + 2 * block + 10 * (2 * 64 + 1) == 538_778


def test_narrower_experts_of_resnet50_have_the_widths_of_rides_code() -> None:
    """``layer3_output_dim`` 192 and ``layer4_output_dim`` 384, times the expansion of 4, in RIDEResNet.py."""
    net = network("ride", 10, "resnet50")
    expert: Any = net.backbone.get_submodule("tails.2")
    assert [expert.layer3[0].conv2.out_channels, expert.layer4[0].conv2.out_channels] == [192, 384]
    assert net.heads["third"].get_parameter("weight").shape == (10, 1536)
    assert not any(
        name.startswith(("layer3", "layer4")) for name, _ in net.backbone.get_submodule("trunk").named_children()
    )


@pytest.mark.parametrize("own", get_args(Part))
@pytest.mark.parametrize("name", ["resnet8_cifar", "resnet32_cifar", "resnet18"])
def test_a_branch_of_full_width_computes_what_the_whole_backbone_does(name: str, own: Part) -> None:
    """All layouts start from the same values: the first branch with the shared layers is the backbone itself."""
    whole, width = initialised_backbone(name, 3, (32, 32), [3])
    branched, same_width = initialised_backbone(name, 3, (32, 32), [3, 4], own)
    images = torch.randn(2, 3, 32, 32)
    features: Tensor = branched(images)
    assert features.shape == (2, 2, width)
    assert same_width == width
    assert torch.equal(features[:, 0], whole(images))
    first, second = branched.get_submodule("tails").children()
    own_weights = list(zip(first.parameters(), second.parameters(), strict=True))
    assert any(not torch.equal(one, other) for one, other in own_weights)
    assert sum(one.numel() for one, _ in own_weights) == parameters(whole) - parameters(branched.get_submodule("trunk"))


def test_narrower_branches_share_the_first_layers_of_every_other_network() -> None:
    whole, _ = initialised_backbone("resnet8_cifar", 3, (32, 32), [3])
    narrow, width = initialised_backbone("resnet8_cifar", 3, (32, 32), [3, 4], "last stage", 0.75)
    assert width == 48
    shared, all_of_it = narrow.get_submodule("trunk").parameters(), whole.parameters()
    assert all(torch.equal(one, other) for one, other in zip(shared, all_of_it, strict=False))


def test_branches_may_be_whole_networks() -> None:
    both, width = initialised_backbone("resnet8_cifar", 3, (32, 32), [3, 4], "whole network")
    assert width == 64
    assert not list(both.get_submodule("trunk").parameters())
    for branch, seed in enumerate((3, 4)):
        own, (alone, _) = (
            both.get_submodule(f"tails.{branch}"),
            initialised_backbone("resnet8_cifar", 3, (32, 32), [seed]),
        )
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), alone.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "own", "factor", "says"),
    [
        ("vgg11", "last two stages", 0.75, "cannot be split into branches"),
        ("res2net50_26w_4s", "last block", 0.75, "the last block cannot be narrower"),
        ("resnet8_cifar", "whole network", 0.75, "the whole network cannot be narrower"),
        ("resnet8_cifar", "last layer", 1.0, "unknown part of a backbone 'last layer'"),
    ],
)
def test_layouts_that_do_not_exist_are_refused(name: str, own: Any, factor: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        initialised_backbone(name, 3, (64, 64), [0, 1], own, factor)
