"""Methods that change the backbone: SHIKE and LIFT."""

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import InputError
from ltbench.check.problem import TINY, suited, train
from ltbench.models.network import Network, initialised_backbone
from tests.methods.given import COUNTS, LABELS, REGISTRY, Answers, assert_same, clock, labelled, mean, method_of, random
from tests.methods.given import log_softmax as log_p


def network(name: str, backbone: str = "resnet8_cifar", classes: int = 3, size: int = 32) -> Network:
    method = REGISTRY[name].method()
    seeds = list(range(method.branches))
    body, width = initialised_backbone(
        backbone,
        3,
        (size, size),
        seeds,
        method.branches_own,
        method.branches_width,
        rebuild=functools.partial(method.rebuild, classes=classes),
    )
    return Network(body, {head: method.build_head(head, width, classes) for head in method.heads}).eval()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# SHIKE


def slow_suppression(logits: Tensor, labels: list[int]) -> Tensor:
    """Divided by the number of classes and times 10, ``mix_outputs`` in cifarTrain.py of SHIKE's code."""
    total = torch.zeros((), dtype=torch.float64)
    for expert in logits:
        rows = []
        for i, y in enumerate(labels):
            others = [j for j in range(logits.shape[2]) if j != y]
            means = {j: mean([other[i, j] for other in logits]) for j in others}
            hardest = max(others, key=lambda j: means[j].item())
            teacher = torch.stack(
                [
                    torch.zeros((), dtype=torch.float64)
                    if j == y
                    else means[j]
                    if j == hardest
                    else max((other[i, j] for other in logits), key=lambda z: z.item())
                    for j in range(logits.shape[2])
                ]
            )
            student = torch.stack([torch.tensor(-30.0) if j == y else expert[i, j] for j in range(logits.shape[2])])
            terms = [
                torch.exp(log_p(teacher, j)) * (log_p(teacher, j) - log_p(student, j)) for j in range(len(teacher))
            ]
            rows.append(torch.stack(terms).sum())
        total = total + mean(rows)
    return total


def slow_transfer(logits: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for k, expert in enumerate(logits):
        for other in [*logits[:k], *logits[k + 1 :]]:
            for mine, theirs in zip(expert, other, strict=True):
                for j in range(len(mine)):
                    q = log_p(theirs, j)
                    total = total + torch.exp(q) * (q - log_p(mine, j)) / len(expert)
    return total


def test_shike_learns_labels_and_from_teachers() -> None:
    cosines = random(3, 12, 4).tanh().requires_grad_()
    loss = method_of("shike", [120, 30, 7, 5]).loss(Answers(cosines), labelled(), clock())
    slow = 0.1 * slow_suppression(30 * cosines, LABELS) + 0.01 * slow_transfer(30 * cosines)
    for expert in 30 * cosines:
        slow = slow - mean([log_p(row, y) for row, y in zip(expert, LABELS, strict=True)])
    assert_same(loss, slow, [cosines], 1e-5, of_gradient=1e-4)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_second_phase_of_shike_is_balanced_softmax_for_every_expert(counts: list[int]) -> None:
    cosines = random(3, 12, 3).tanh().requires_grad_()
    method = method_of("shike", counts)
    slow = torch.zeros((), dtype=torch.float64)
    for expert in 30 * cosines + torch.tensor(counts, dtype=torch.float64).log():
        slow = slow - mean([log_p(row, y) for row, y in zip(expert, LABELS, strict=True)])
    assert_same(method.balanced(Answers(cosines), labelled(), clock()), slow, [cosines], 1e-5, of_gradient=1e-4)
    assert [(stage.trains, stage.new_heads) for stage in method.stages()] == [("all", False), ("heads", True)]


@pytest.mark.parametrize(("backbone", "used"), [("resnet8_cifar", (0, 1, 0)), ("test_resnet", (0, 1, 2))])
def test_an_expert_multiplies_its_last_stage_with_an_earlier_one(backbone: str, used: tuple[int, ...]) -> None:
    net, images = network("shike", backbone), torch.randn(2, 3, 32, 32)
    x, stages = images, []
    trunk = net.backbone.get_submodule("trunk")
    layers = dict(trunk.named_children())
    if backbone == "resnet8_cifar":
        layers = {"0": layers["0"], "1": layers["1"], "2": layers["2"]}
        layers |= {f"layer{i}": block for i, block in enumerate(trunk.get_submodule("3"))}  # type: ignore[arg-type]
    for name, layer in layers.items():
        x = layer(x)
        stages += [x] if name.startswith("layer") else []
    for k, stage in enumerate(used):
        last, pool = net.backbone.get_submodule(f"tails.{k}").children()
        shallow = net.backbone.get_submodule(f"shallow.{k}")
        strided = [layer.stride for layer in shallow if isinstance(layer, nn.Conv2d)]  # type: ignore[attr-defined]
        assert strided == [(2, 2)] * (len(stages) - stage)
        assert torch.equal(net.features(images)[:, k], pool(last(stages[-1]) * shallow(stages[stage])))
    expected = 30 * torch.stack(
        [
            F.linear(F.normalize(f), F.normalize(h.weight))
            for f, h in zip(net.features(images).unbind(1), net.heads.values(), strict=True)
        ]
    ).mean(0)
    assert torch.allclose(REGISTRY["shike"].method().predict(net, images), expected, atol=1e-5)


def test_shike_has_the_parameters_of_the_authors_network_without_shortcuts() -> None:
    """``ResNet_MoE`` in networks.py of SHIKE's code: two or one convolutions of stride 2 for each expert."""

    def convolution(before: int, after: int) -> int:
        return 9 * before * after + 2 * after

    def stage(before: int, after: int) -> int:
        return convolution(before, after) + 9 * convolution(after, after)

    shared = convolution(3, 16) + stage(16, 16) + stage(16, 32)
    shallow = 2 * (convolution(16, 32) + convolution(32, 64)) + convolution(32, 64)
    net = network("shike", "resnet32_cifar", 100)
    assert parameters(net) == shared + 3 * stage(32, 64) + shallow + 3 * 64 * 100


def test_the_strided_convolutions_of_shike_begin_as_those_of_pytorch() -> None:
    """``ResNet_MoE`` initialises its other layers before it makes them."""
    shallow = network("shike").backbone.get_submodule("shallow").modules()
    for weight in (layer.weight for layer in shallow if isinstance(layer, nn.Conv2d)):
        inputs = weight[0].numel()
        assert weight.abs().max().item() <= inputs**-0.5
        assert weight.std().item() == pytest.approx((1 / (3 * inputs)) ** 0.5, rel=0.1)


def test_shike_needs_a_residual_network() -> None:
    with pytest.raises(InputError, match="methods with several experts need a residual network"):
        network("shike", "test_vit")


# LIFT


def adapted(classes: int = 3) -> Network:
    """A small vision transformer whose adapters are not at their first values."""
    torch.manual_seed(0)
    net = network("lift", "test_vit", classes).double()
    for name, value in net.named_parameters():
        if ".adapter." in name:
            value.data.normal_()
    return net


def norm(x: Tensor, layer: Any) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    length = (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    return centred / length * layer.weight + layer.bias


def slow_features(net: Network, images: Tensor) -> Tensor:
    """``AdaptFormer`` in peft_modules.py and ``Peft_ViT`` in peft_vit.py of LIFT's code: the class token at the end."""
    vit: Any = net.backbone
    patches = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
    x = torch.cat([vit.cls_token.expand(len(images), 1, -1), patches], 1) + vit.pos_embed
    for block in vit.blocks:
        x = x + block.attn(norm(x, block.norm1))
        down = norm(x, block.adapter.norm) @ block.adapter.down.weight.T + block.adapter.down.bias
        up = down.clamp_min(0) @ block.adapter.up.weight.T + block.adapter.up.bias
        x = block.mlp(norm(x, block.norm2)) + up * block.adapter.scale + x
    return norm(x[:, 0], vit.norm)


def test_every_block_of_lift_has_an_adapter_beside_its_mlp() -> None:
    net, images = adapted(), random(4, 3, 32, 32)
    adapters = [value for name, value in net.named_parameters() if ".adapter." in name]
    assert len(adapters) == 6 * 7
    weights = random(4, 64)
    assert_same((net.features(images) * weights).sum(), (slow_features(net, images) * weights).sum(), adapters, 1e-8)


def test_a_new_adapter_changes_nothing() -> None:
    plain, _ = initialised_backbone("test_vit", 3, (32, 32), [0])
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network("lift", "test_vit").features(images), plain(images))


@pytest.mark.parametrize(("classes", "inner"), [(5, 1), (47, 2), (100, 8), (1000, 64)])
def test_the_width_of_an_adapter_grows_with_the_classes(classes: int, inner: int) -> None:
    """``adapter_dim`` in peft_vit.py, for six blocks."""
    down = network("lift", "test_vit", classes).get_parameter("backbone.blocks.0.adapter.down.weight")
    assert down.shape == (inner, 64)
    assert down.std().item() == pytest.approx((1 / (3 * 64)) ** 0.5, rel=0.25)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_lift(counts: list[int]) -> None:
    cosines = random(12, 3).tanh().requires_grad_()
    loss = method_of("lift", counts).loss(Answers(cosines), labelled(), clock())
    prior = (torch.tensor(counts, dtype=torch.float64) / sum(counts)).log()
    slow = -mean([log_p(25 * row + prior, y) for row, y in zip(cosines, LABELS, strict=True)])
    assert_same(loss, slow, [cosines], 1e-5, of_gradient=1e-4)


def test_lift_begins_with_the_class_means_of_the_features() -> None:
    net, seen, labels = network("lift", "test_vit"), random(12, 64).float(), torch.tensor(LABELS)
    with torch.no_grad():
        method_of("lift", COUNTS[0]).take_means(net, lambda split: (seen, labels))
    for c, row in enumerate(net.heads["main"].get_parameter("weight")):
        centre = seen[labels == c].mean(0)
        assert torch.allclose(row, centre / centre.norm(), atol=1e-6)


def test_lift_trains_adapters_and_classifier_only() -> None:
    method = REGISTRY["lift"].method
    means, states = train(method, None, 0, suited(TINY, (method,)).task())
    changed = {name for name, value in means["network"].items() if not torch.equal(value, states["network"][name])}
    assert "heads.main.weight" in changed
    assert len(changed) > 6 * 2
    assert all(".adapter." in name for name in changed - {"heads.main.weight"})


def test_lift_needs_a_vision_transformer() -> None:
    with pytest.raises(InputError, match="lift needs a vision transformer; set recipe.backbone to one of timm"):
        network("lift", "resnet8_cifar")
