"""A method that corrects the class prior twice is refused by name, unless it says that it means to."""

from pathlib import Path

import pytest

from ltbench.method.registry import Registry, discover
from tests.methods.given import REGISTRY


def written(name: str, body: str) -> Registry:
    """The methods, with one more file."""
    Path("methods").mkdir(exist_ok=True)
    head = "from ltbench import Decoupled, Method, Stage, class_balanced, deferred, progressively_balanced\n"
    Path(f"methods/{name}.py").write_text(f"{head}class Mine(Method):\n    'Mine.'\n    {body}\n")
    return discover()


def refusal(registry: Registry, name: str) -> str:
    assert name not in registry
    assert set(registry.broken) == {name}
    assert "\n" not in registry.broken[name]
    assert f"{name}.py: corrects the class prior twice" in registry.broken[name]
    assert "double_correction = True" in registry.broken[name]
    return registry.broken[name]


SAMPLERS = ("class_balanced", "deferred(class_balanced, 0.8)", "progressively_balanced()")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_balanced_sampler_under_a_loss_that_corrects(sampler: str) -> None:
    body = f"corrects = 'log prior in the logits'; streams = {{'main': {sampler}}}"
    why = refusal(written("mine", body), "mine")
    assert "log prior in the logits (mine)" in why
    assert "the sampler of stream 'main'" in why
    assert "mine" in written("mine", f"{body}; double_correction = True")


@pytest.mark.parametrize(
    "after", ["balanced_softmax", "logit_adjustment", "class_balanced_sampling", "ldam_drw", "cdt"]
)
def test_a_posthoc_adjustment_after_training_that_corrected(after: str) -> None:
    body = f"after = '{after}'; corrects = 'log prior off the logits'"
    stages = "\n    def stages(self): return (Stage('post-hoc', epochs=0, finish=self.adjust),)"
    stages += "\n    def adjust(self, net, features): pass"
    assert "log prior off the logits (mine)" in refusal(written("mine", body + stages), "mine")
    assert "mine" in written("mine", f"{body}; double_correction = True{stages}")
    assert "mine" in written("mine", body.replace(after, "ce") + stages)


def test_a_new_classifier_forgets_what_was_corrected_before_it_and_an_old_one_does_not() -> None:
    given = "after = 'balanced_softmax'; streams = {'main': class_balanced}"
    stages = "\n    def stages(self): return (Stage(trains='heads', new_heads=%s),)"
    assert "mine" in written("mine", given + stages % True)
    assert "log prior in the logits (balanced_softmax)" in refusal(written("mine", given + stages % False), "mine")


def test_crt_after_balanced_softmax_is_not_refused() -> None:
    source = REGISTRY["crt"].file.read_text()
    assert 'after = "ce"' in source
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(source.replace('after = "ce"', 'after = "balanced_softmax"'))
    registry = discover()
    assert registry.broken == {}
    assert [entry.name for entry, _ in registry.chain("mine", {})] == ["balanced_softmax", "mine"]


def test_what_corrects_says_so() -> None:
    said = {name for name, entry in REGISTRY.items() if entry.method.corrects}
    assert said >= {
        "balanced_softmax",
        "logit_adjustment",
        "logit_adjustment_posthoc",
        "tau_norm",
        "cdt",
        "weighted_ce",
    }
    assert said >= {"cb_ce", "cb_focal", "ce_drw", "ldam_drw", "ride", "sade", "balpoe", "bcl", "weight_balancing"}
    assert said.isdisjoint({"ce", "focal", "label_smoothing", "mixup", "crt", "lws", "ncm", "class_balanced_sampling"})
