"""Runs from pretrained weights, on the command line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ltbench.results.leaderboard import leaderboard, load_results
from tests.conftest import Answer, records

TINY = ("--datasets", "digits", "--imbalance", "20", "--seeds", "2", "--workers", "1", "--methods", "ce,focal")
RECIPE = ("--set", "recipe.epochs=1", "--set", "recipe.crop_padding=0", "--set", "recipe.image_size=32")


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a file of weights of a backbone of timm."""

    def make(name: str) -> Path:
        torch.manual_seed(3)
        save_file(timm.create_model(name).state_dict(), tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    return make


def test_rows_name_their_weights_and_several_backbones_share_a_table(
    ltbench: Callable[..., Answer], weights: Callable[[str], Path]
) -> None:
    names = ("test_resnet", "test_efficientnet")
    files = ",".join(str(weights(name)) for name in names)
    chosen = ("--set", f"recipe.backbone={','.join(names)}", "--set", f"recipe.pretrained={files}")
    answer = ltbench("run", *TINY, *RECIPE, *chosen, "--set", "recipe.batch_size=64")
    assert answer.status == 0, answer.err
    found = records().values()
    assert len(found) == 8
    assert len({record.recipe for record in found}) == len({record.fingerprint for record in found}) == 1
    assert {record.entry.partition("#")[0] for record in found} == {
        f"{method} @ {name}.r160_in1k" for method in ("ce", "focal") for name in names
    }
    assert {record.control for record in found} == {record.entry for record in found if record.method == "ce"}
    board = leaderboard(load_results("results"))
    compared = board.set_index("method").difference_to_ce.notna()
    assert compared.to_dict() == {record.entry: record.method != "ce" for record in found}
    commands = {record.id: record.command for record in found if record.weights.startswith(names[1])}
    for cell, command in commands.items():  # the command of a record names its own backbone, and gives the same cell
        dry = ltbench(*shlex.split(command)[1:], "--dry-run", "--json")
        assert [planned["id"] for planned in json.loads(dry.out)] == [cell]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["recipe.backbone=test_resnet,test_vit"], "several backbones share a table only with recipe.pretrained"),
        (["recipe.backbone=test_resnet,test_vit", "recipe.pretrained=a.safetensors"], "one file for each backbone"),
        (["recipe.backbone=a,b,c", "recipe.pretrained=a.safetensors,b.safetensors"], "has 3 names and"),
        (["recipe.pretrained=true"], "resnet8_cifar' has no published weights"),
        (["recipe.backbone=test_resnet", "recipe.pretrained=3"], "recipe.pretrained=3"),
    ],
)
def test_what_cannot_be_a_start(ltbench: Callable[..., Answer], changes: list[str], message: str) -> None:
    answer = ltbench("run", *TINY, *(word for change in changes for word in ("--set", change)))
    assert answer.status == 2
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
