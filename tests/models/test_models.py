import subprocess
import sys

import pytest
import torch

from ltbench.errors import InputError
from ltbench.models import CosineClassifier, backbone_names, build_backbone, check_backbone
from ltbench.models.cifar_resnet import CIFAR_RESNETS
from ltbench.models.classifiers import CLASSIFIERS, initialise_as_ldam
from ltbench.models.network import Network, initialised_backbone


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def with_head(name: str, classes: int, classifier: str = "linear", heads: tuple[str, ...] = ("main",)) -> Network:
    backbone, width = initialised_backbone(name, 3, (32, 32), seeds=[0])
    return Network(backbone, {head: CLASSIFIERS[classifier](width, classes) for head in heads})  # type: ignore[index]


def test_parameters_of_the_literatures_resnet32() -> None:
    assert parameters(with_head("resnet32_cifar", 10)) == 464_154
    assert parameters(with_head("resnet32_cifar", 100)) == 470_004
    assert parameters(with_head("resnet32_cifar", 100, "cosine")) == 469_904


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20_cifar", 0.27), ("resnet56_cifar", 0.85), ("resnet110_cifar", 1.7)]
)
def test_parameters_of_he_et_al(name: str, millions: float) -> None:
    assert parameters(with_head(name, 10)) / 1e6 == pytest.approx(millions, rel=0.03)


def test_depth_is_what_the_name_says() -> None:
    for name, create in CIFAR_RESNETS.items():
        convolutions = sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in create().modules())
        assert convolutions + 1 == int(name.split("_")[0].removeprefix("resnet"))


def test_the_wide_networks_are_those_of_the_sources() -> None:
    """GLMC: 7.4 million parameters. Weight balancing: torchvision's ResNet-34 has 21.80 million with 1,000 classes."""
    assert parameters(with_head("resnet32_cifar_wide", 100)) / 1e6 == pytest.approx(7.4, rel=0.01)
    of_stem, of_classes = 64 * 3 * (49 - 9), 513 * 900
    assert parameters(with_head("resnet34_cifar", 100)) == 21_797_672 - of_stem - of_classes


def test_timm_knows_the_cifar_resnets() -> None:
    assert "resnet32_cifar" in backbone_names()
    import timm

    assert parameters(timm.create_model("resnet32_cifar", num_classes=10)) == 464_154


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["resnet8_cifar", "resnet10t"])
def test_any_backbone_takes_grey_and_colour(name: str, channels: int) -> None:
    backbone, width = initialised_backbone(name, channels, (32, 32), seeds=[0])
    assert backbone(torch.zeros(2, channels, 32, 32)).shape == (2, width)


def test_a_transformer_is_built_for_the_size_of_the_images() -> None:
    backbone, width = initialised_backbone("vit_tiny_patch16_224", 3, (32, 32), seeds=[0])
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, width)


def test_a_backbone_that_does_not_take_the_images_is_named() -> None:
    with pytest.raises(InputError, match=r"backbone 'vgg11' does not take images of 8x8 pixels.*recipe\.image_size"):
        initialised_backbone("vgg11", 3, (8, 8), seeds=[0])


def test_unknown_backbones_are_named() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet111_cifar'; did you mean 'resnet110_cifar'"):
        check_backbone("resnet111_cifar")
    with pytest.raises(InputError, match="unknown backbone"):
        build_backbone("no_such_thing", 3, (32, 32))


def test_initialisation_depends_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one, _ = initialised_backbone("resnet8_cifar", 3, (32, 32), seeds=[1])
    torch.manual_seed(6)
    again, _ = initialised_backbone("resnet8_cifar", 3, (32, 32), seeds=[1])
    other, _ = initialised_backbone("resnet8_cifar", 3, (32, 32), seeds=[2])
    pairs = list(zip(one.state_dict().values(), again.state_dict().values(), other.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_the_cosine_classifier_gives_cosines() -> None:
    classifier = CosineClassifier(5, 3)
    features = torch.randn(4, 5)
    expected = torch.nn.functional.cosine_similarity(features[:, None], classifier.weight[None], dim=2)
    assert torch.allclose(classifier(features), expected, atol=1e-6)


def test_the_first_head_predicts() -> None:
    net = with_head("resnet8_cifar", 4, heads=("primary", "auxiliary")).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(net(images), net.heads["primary"](net.features(images)))
    assert not torch.equal(net.heads["primary"].weight, net.heads["auxiliary"].weight)


def test_a_cifar_resnet_needs_no_timm() -> None:
    code = (
        "import sys; from ltbench.models.network import initialised_backbone as b;"
        "b('resnet32_cifar', 3, (32, 32), [0]); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_initialisation_of_ldam_is_that_of_its_code() -> None:
    linear, cosine = CLASSIFIERS["linear"](64, 2000), CLASSIFIERS["cosine"](64, 10)
    initialise_as_ldam(linear)
    assert linear.get_parameter("weight").std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert torch.allclose(cosine.get_parameter("weight").norm(dim=1), torch.ones(10))
