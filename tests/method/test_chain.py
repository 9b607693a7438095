"""Which method may continue from which: every combination is allowed, or refused with its line before any training."""

from typing import Any

import pytest

from ltbench.errors import InputError
from ltbench.method.chain import Refused, changed
from ltbench.method.entries import parse_entry, written
from tests.methods.given import REGISTRY

ALLOWED = {
    "crt(after=class_balanced_sampling)": ["class_balanced_sampling", "crt"],
    "crt(after=ldam)": ["ldam", "crt"],  # new heads go on any features
    "crt(after=balanced_softmax)": ["balanced_softmax", "crt"],  # and remove what was corrected before
    "crt(after=aux_random(weight=0.5), lr=0.2)": ["aux_random", "crt"],
    "ncm(after=weight_balancing)": ["weight_balancing", "ncm"],
    "lws(after=aux_random)": ["aux_random", "lws"],  # two balanced samplers are no double correction
    "lws_mixup(after=ce)": ["ce", "lws_mixup"],
    "logit_adjustment_posthoc(after=aux_random(samplers=swapped))": ["aux_random", "logit_adjustment_posthoc"],
    "tau_norm(after=aux_random, double_correction=true)": ["aux_random", "tau_norm"],
    "tau_norm(after=mixup)": ["mixup", "tau_norm"],
}
REFUSED = {
    "tau_norm(after=crt)": "corrects the class prior twice, by the sampler of stream 'main' (crt) and normalised",
    "tau_norm(after=aux_random)": "add double_correction=true if you mean it",
    "logit_adjustment_posthoc(after=balanced_softmax)": "log prior in the logits (balanced_softmax) and log prior off",
    "tau_norm(after=ldam)": "ldam has a cosine classifier, which has no bias and ignores the lengths of its weights",
    "logit_adjustment_posthoc(after=ldam)": "cannot continue it as a linear one; methods with a new classifier",
    "logit_adjustment_posthoc(after=ncm)": "ncm has a NearestMean classifier",
    "tau_norm(after=lws)": "lws has a scaled classifier",
    "crt(after=ride)": "ride has 3 branches with features of their own, and crt has 1",
    "crt(after=bbn)": "bbn has 2 branches",
    "crt(after=tau_norm)": "tau_norm trains a classifier only, which crt replaces",
    "ncm(after=mislas)": "mislas trains a classifier only",
    "lws(after=aux_random(predicts=auxiliary))": "aux_random does not predict with its first head",
}
WRONG = {
    "crt(after=aux_randm)": "unknown method 'aux_randm'; did you mean 'aux_random'? (in crt(after=aux_randm))",
    "ce(after=mixup)": "ce(after=mixup): 'ce' continues from no other method; these do: crt, crt_mixup, ",
    "ce(double_correction=true)": "unknown hyper-parameter of ce 'double_correction'",
    "crt(after=crt)": "method 'crt' comes after itself, through 'crt'",
    "crt(after=lws(after=crt))": "method 'crt' comes after itself, through 'lws'",
    "crt(after=focal(gama=2))": "unknown hyper-parameter of focal 'gama'; did you mean 'gamma'",
    "crt(after=5)": "unknown method '5'",
}


def chain(entry: str, **settings: dict[str, Any]) -> list[Any]:
    name, values = parse_entry(entry)
    return REGISTRY.chain(name, values, settings)


def text(links: list[Any]) -> str:
    """The entry of a chain, as tables print it."""
    return written(links[-1][0].name, changed([method for _, method in links]))


@pytest.mark.parametrize("entry", ALLOWED)
def test_a_method_continues_from_the_one_that_its_entry_names(entry: str) -> None:
    links = chain(entry)
    assert [found.name for found, _ in links] == ALLOWED[entry]
    assert text(links) == entry


@pytest.mark.parametrize("entry", REFUSED)
def test_a_combination_that_means_nothing_is_refused_in_one_line(entry: str) -> None:
    with pytest.raises(Refused) as error:
        chain(entry)
    assert str(error.value).startswith(f"{entry}: ")
    assert REFUSED[entry] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("entry", WRONG)
def test_a_wrong_entry_says_what_is_allowed(entry: str) -> None:
    with pytest.raises(InputError) as error:
        chain(entry)
    assert WRONG[entry] in str(error.value)
    assert not isinstance(error.value, Refused)


def test_what_is_as_usual_is_not_part_of_the_entry() -> None:
    assert text(chain("crt(after=ce)")) == text(chain("crt")) == "crt"
    assert text(chain("crt_mixup(after=mixup)")) == "crt_mixup"
    assert text(chain("tau_norm(double_correction=true)")) == "tau_norm"
    assert text(chain("tau_norm(after=mixup, double_correction=true)")) == "tau_norm(after=mixup)"
    assert text(chain("crt(after=mixup(alpha=1.0))")) == "crt(after=mixup)"


def test_settings_of_a_method_count_where_others_continue_from_it() -> None:
    assert text(chain("crt_mixup", mixup={"alpha": 0.5})) == "crt_mixup(after=mixup(alpha=0.5))"
    assert text(chain("crt(after=aux_random)", aux_random={"weight": 0.3})) == "crt(after=aux_random(weight=0.3))"
    assert text(chain("crt(after=aux_random(weight=2.0))", aux_random={"weight": 0.3})) == (
        "crt(after=aux_random(weight=2.0))"
    )


def test_the_cost_of_a_chain_is_that_of_its_features_and_its_classifier() -> None:
    costs = {entry: REGISTRY.cost(chain(entry)) for entry in ("crt", "crt(after=mixup)", "crt(after=aux_combined)")}
    assert costs == pytest.approx({"crt": 1.05, "crt(after=mixup)": 1.05, "crt(after=aux_combined)": 3.05})
