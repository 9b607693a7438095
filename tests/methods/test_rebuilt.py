"""Methods that change the backbone: SHIKE."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import InputError
from ltbench.models.network import Network, initialised_backbone
from tests.methods.given import COUNTS, LABELS, REGISTRY, Answers, assert_same, clock, labelled, mean, method_of, random
from tests.methods.given import log_softmax as log_p


def network(name: str, backbone: str = "resnet8_cifar", classes: int = 3, size: int = 32) -> Network:
    method = REGISTRY[name].method()
    seeds = list(range(method.branches))
    body, width = initialised_backbone(
        backbone, 3, (size, size), seeds, method.branches_own, method.branches_width, rebuild=method.rebuild
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


def test_shike_needs_a_residual_network() -> None:
    with pytest.raises(InputError, match="methods with several experts need a residual network"):
        network("shike", "test_vit")
