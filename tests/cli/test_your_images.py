"""Every command of docs/your-images.md runs, with smaller networks and fewer epochs."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ltbench.models import pretrained
from tests.conftest import Answer, records

PAGE = (Path(__file__).parents[2] / "docs" / "your-images.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SMALLER = {"resnet18": "test_resnet", "tf_efficientnet_lite0": "test_efficientnet"}
SMALL = [
    "--seeds",
    "1",
    "--workers",
    "1",
    *(w for v in ("epochs=1", "batch_size=16") for w in ("--set", f"recipe.{v}")),
]


@pytest.fixture
def photos(picture_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder ``photos``, and the weights of small networks in place of those that the page names."""
    import huggingface_hub

    Path("photos").symlink_to(picture_folder({"ant": 14, "bee": 8, "cat": 6}))
    for name, small in SMALLER.items():
        torch.manual_seed(3)
        save_file(timm.create_model(small).state_dict(), f"{name}.safetensors")
    stored = {f"timm/{small}.r160_in1k": f"{name}.safetensors" for name, small in SMALLER.items()}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, *_, **__: stored[repository])
    monkeypatch.setattr(pretrained, "_hub_file", pretrained._hub_file.__wrapped__)  # it keeps what it found


def small(command: str) -> list[str]:
    """The words of a command, for small networks."""
    words = shlex.split(command)[1:]
    if words[0] != "run":
        return words
    words = [re.sub(r"recipe\.backbone=.*", lambda names: _smaller(names[0]), word) for word in words]
    if not any("backbone" in word for word in words):
        words += ["--set", _smaller("recipe.backbone=tf_efficientnet_lite0")]
    if "all" in words:
        words[words.index("all")] = "ce,ride,bcl"
    return [*words, *SMALL]


def _smaller(text: str) -> str:
    for name, tiny in SMALLER.items():
        text = text.replace(name, tiny)
    return text


def test_every_command_of_the_page_runs(ltbench: Callable[..., Answer], photos: None) -> None:
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        given = {"ID": next(iter(records()), ""), "IMAGE": "photos/ant/000.png"}
        answer = ltbench(*(given.get(word, word) for word in small(command)))
        assert answer.status == 0, f"{command}: {answer.err}"
    found = {(record.recipe.partition("[")[0], record.entry.partition("#")[0]) for record in records().values()}
    rows = {f"{method} @ {name}.r160_in1k" for method in ("ce", "crt") for name in SMALLER.values()}
    assert {row for recipe, row in found if recipe == "frozen"} == rows | {"ride @ test_efficientnet.r160_in1k"}
    assert {row.partition(" ")[0] for recipe, row in found if recipe == "finetune"} == {"ce", "crt", "balanced_softmax"}
    assert all(record.result for record in records().values())


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ([], "ldam"),
        (["--set", "recipe.pretrained=resnet18.safetensors", "--set", "recipe.backbone=test_resnet"], "finetune"),
        (["--recipe", "digits"], "digits"),
    ],
)
def test_a_folder_never_gets_the_recipe_of_the_digits_unasked(
    ltbench: Callable[..., Answer], photos: None, words: list[str], recipe: str
) -> None:
    answer = ltbench("run", "--datasets", "imagefolder:photos", "--methods", "ce", "--dry-run", *words)
    assert answer.status == 0, answer.err
    assert f"under recipe {recipe}" in answer.err
    assert ("(the default for images of your own; see also" in answer.err) == (recipe != "digits")
