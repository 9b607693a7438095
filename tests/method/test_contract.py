"""Every registered method keeps the contract. Their formulas are tested in tests/methods."""

import ast
import re

import pytest
import torch

from ltbench import Choice, Method, Range
from ltbench.errors import InputError
from ltbench.method.registry import Registry, discover
from ltbench.method.source import BUILTIN
from ltbench.plan.recipe import RECIPES

REGISTRY: Registry = discover()
CPU = torch.device("cpu")


# the contract, for every method


FIELD = """
    ce label_smoothing weighted_ce
    class_balanced_sampling square_root_sampling progressive_sampling ce_drs
    focal cb_ce cb_focal ldam ldam_drw ce_drw balanced_softmax logit_adjustment logit_adjustment_posthoc cdt
    vs lade seql influence_balanced kps tde
    label_aware_smoothing
    crt tau_norm lws ncm crt_mixup lws_mixup mislas weight_balancing disalign gcl h2t los crt_swa dro_lt
    aux_random aux_rotation aux_reweighted aux_combined
    bbn mixup remix cmo cmo_balanced_softmax cmo_ldam_drw glmc cuda_augmentation m2m
    ride sade balpoe reslt shike ncl mdcs dive ensemble_balanced_softmax
    bcl paco gpaco proco etf
    sam imbsam focal_sam cc_sam swa
"""


def test_the_methods_of_the_field_are_there() -> None:
    assert set(REGISTRY) >= set(FIELD.split())
    assert REGISTRY.broken == {}


@pytest.mark.parametrize("name", REGISTRY)
def test_a_methods_file_reads_as_the_style_asks(name: str) -> None:
    entry = REGISTRY[name]
    text = entry.file.read_text()
    assert entry.file.stem == name == entry.method.name
    tree = ast.parse(text)
    tables = [n for n in ast.walk(tree) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "published"]
    assert 10 <= len(text.splitlines()) - sum(n.end_lineno - n.lineno for n in tables) <= 100
    head = ast.get_docstring(tree) or ""
    assert "Deviation" in head
    assert entry.about.endswith(".")
    for published in entry.method.published:
        assert published.grade in "AB"
        assert 1 < published.accuracy < 100


@pytest.mark.parametrize("name", REGISTRY)
def test_nothing_else_in_the_tree_knows_a_methods_name(name: str) -> None:
    if name == "ce" or name in RECIPES:
        pytest.skip("two letters are found everywhere, and a recipe may have a method's name")
    package = BUILTIN.parent / "ltbench" if (BUILTIN.parent / "ltbench").is_dir() else BUILTIN.parent
    sources = [p for p in package.rglob("*.py") if BUILTIN not in p.parents]
    assert [p.name for p in sources if re.search(rf"[\"']{name}[\"']", p.read_text())] == []


# hyper-parameters


class Example(Method):
    name = "example"
    strength = Range(1.0, 0.1, 10.0, log=True)
    heads_of = Range(3, 2, 4)
    mode = Choice("a", ("a", "b"))


def test_hyperparameters_are_values_on_a_method_and_descriptions_on_its_class() -> None:
    assert (Example().strength, Example(strength=2).strength) == (1.0, 2.0)
    assert isinstance(Example(strength=2).strength, float)
    assert Example.space()["strength"].low == 0.1  # type: ignore[attr-defined]
    assert Example(heads_of=4.0).heads_of == 4
    assert list(Example.space()) == ["strength", "heads_of", "mode"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stength": 2}, "unknown hyper-parameter of example 'stength'; did you mean 'strength'"),
        ({"strength": "x"}, r"example\.strength=x: give a finite number"),
        ({"strength": float("inf")}, r"example\.strength=inf"),
        ({"heads_of": 2.5}, "give an integer"),
        ({"mode": "c"}, r"example\.mode=c: give one of a, b"),
    ],
)
def test_wrong_hyperparameters_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Example(**given)


def test_ranges_and_choices_hold_their_default() -> None:
    with pytest.raises(ValueError, match="must be in"):
        Range(5.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="log"):
        Range(0.5, 0.0, 1.0, log=True)
    with pytest.raises(ValueError, match="must be one of"):
        Choice("x", ("a",))
