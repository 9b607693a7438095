import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from ltbench.errors import InputError
from ltbench.models.network import initialised_backbone
from ltbench.models.pretrained import find_weights, read_weights

TINY = "test_resnet"
"""A network of timm with 0.5 million parameters."""
Values = dict[str, Tensor]


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    """Makes a file of weights of a backbone, changed by a function."""

    def make(change: Callable[[Values], Values | None] = lambda values: values, backbone: str = TINY) -> Path:
        torch.manual_seed(3)
        values = dict(timm.create_model(backbone).state_dict())
        save_file(change(values) or values, tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"

    return make


def backbone(path: Path, name: str = TINY, channels: int = 3, branches: int = 1) -> torch.nn.Module:
    return initialised_backbone(name, channels, (32, 32), list(range(branches)), weights=path)[0].eval()


def test_a_file_gives_the_features_of_timms_own_model(weights: Callable[..., Path]) -> None:
    path = weights()
    model = timm.create_model(TINY, num_classes=0).eval()
    model.load_state_dict(read_weights(path), strict=False)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(backbone(path)(images), model(images))


def test_a_file_without_a_classifier_or_with_another_one_is_taken(weights: Callable[..., Path]) -> None:
    images = torch.randn(2, 3, 32, 32)
    expected = backbone(weights())(images)
    assert torch.equal(backbone(weights(lambda v: {k: x for k, x in v.items() if "fc." not in k}))(images), expected)
    other = {"fc.weight": torch.randn(7, 96), "fc.bias": torch.zeros(7)}
    assert torch.equal(backbone(weights(lambda v: v | {k: other[k] for k in other if k in v}))(images), expected)


@pytest.mark.parametrize("name", [TINY, "resnet8_cifar"])
def test_the_first_layer_is_adapted_to_grey_images(weights: Callable[..., Path], name: str) -> None:
    """timm adds the weights of the colours, so a grey image gives the features of the same image in colour."""
    path = weights(backbone=name) if name == TINY else _cifar(weights)
    grey = torch.randn(2, 1, 32, 32)
    of_grey, of_colour = backbone(path, name, 1)(grey), backbone(path, name)(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(of_grey, of_colour, atol=1e-4)


def _cifar(weights: Callable[..., Path]) -> Path:
    from ltbench.models.cifar_resnet import CIFAR_RESNETS

    torch.manual_seed(3)
    return weights(lambda _: dict(CIFAR_RESNETS["resnet8_cifar"](num_classes=10).state_dict()))


def test_the_seed_changes_nothing_and_branches_start_equal(weights: Callable[..., Path]) -> None:
    path = _cifar(weights)
    features = backbone(path, "resnet8_cifar", branches=2)(torch.randn(2, 3, 32, 32))
    assert torch.equal(features[:, 0], features[:, 1])


def test_weights_say_what_they_are(weights: Callable[..., Path]) -> None:
    path = weights()
    found = find_weights(TINY, str(path))
    assert found is not None
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert str(found) == f"test_resnet.r160_in1k#{found.digest[:6]}"
    assert found.data == "ImageNet-1k"
    config = timm.get_pretrained_cfg(TINY)
    assert (found.mean, found.std, found.interpolation) == (config.mean, config.std, config.interpolation)
    assert (found.crop, found.side) == (config.crop_pct, config.input_size[-1])
    assert found.normalisation(1) == ((sum(config.mean) / 3,), (sum(config.std) / 3,))
    assert find_weights(TINY, False) is None


def test_a_tag_chooses_the_configuration(weights: Callable[..., Path]) -> None:
    found = find_weights("vit_tiny_patch16_224.augreg_in21k", str(weights()))
    assert found is not None
    assert found.name == "vit_tiny_patch16_224.augreg_in21k"
    assert found.data == "ImageNet-21k"


def test_weights_of_a_cifar_resnet_keep_the_normalisation_of_the_data(weights: Callable[..., Path]) -> None:
    found = find_weights("resnet8_cifar", str(_cifar(weights)))
    assert found is not None
    assert found.normalisation(3) is None
    assert found.data == "unknown"


def without(key: str) -> Callable[[Values], Values]:
    return lambda values: {name: value for name, value in values.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer1.0.conv1.weight"), r"missing: layer1\.0\.conv1\.weight\)"),
        (lambda v: v | {"extra": torch.ones(1)}, r"unexpected: extra\)"),
        (lambda v: v | {"layer1.0.bn1.weight": torch.ones(3)}, r"of another shape: layer1\.0\.bn1\.weight\)"),
        (lambda v: v | {"bn1.bias": torch.full((32,), torch.nan)}, r"bn1\.bias has numbers that are not finite"),
        (lambda v: v.clear(), "has no tensors"),
    ],
)
def test_weights_that_do_not_fit(
    weights: Callable[..., Path], change: Callable[[Values], Values], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        backbone(weights(change))


def test_missing_keys_of_a_cifar_resnet_are_named(weights: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"do not fit backbone 'resnet8_cifar' \(missing: .*unexpected: "):
        backbone(weights(), "resnet8_cifar")


def test_a_damaged_file_is_named(weights: Callable[..., Path]) -> None:
    path = weights()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"w\.safetensors cannot be read .*bring the file again"):
        backbone(path)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (TINY, "none.safetensors", r"weights none\.safetensors cannot be read \(No such file or directory\)"),
        (TINY, "weights.pth", r"recipe\.pretrained=weights\.pth is not a \.safetensors file"),
        (TINY, "", r"recipe\.pretrained= is not a \.safetensors file"),
        ("resnet32_cifar", True, r"'resnet32_cifar' has no published weights; set recipe\.pretrained=PATH"),
        ("resnet9000", True, "timm has no weights 'resnet9000'"),
    ],
)
def test_weights_that_are_not_there(name: str, given: bool | str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_weights(name, given)


def test_without_a_network_the_error_names_the_file_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(InputError, match=r"bring the file model\.safetensors of timm/test_vit\.r160_in1k here"):
        find_weights("test_vit", True)


def test_weights_of_the_hub_are_taken_from_this_machine_first(
    weights: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def stored(repository: str, name: str, local_files_only: bool) -> str:
        assert (repository, name, local_files_only) == ("timm/test_resnet.r160_in1k", "model.safetensors", True)
        return str(path)

    path = weights()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", stored)
    found = find_weights(TINY, True)
    assert found is not None
    assert found.file == path
