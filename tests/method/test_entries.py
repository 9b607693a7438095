import pytest

from ltbench.errors import InputError
from ltbench.method.entries import parse_entry, written

ENTRIES = {
    "ce": ("ce", {}),
    "aux_*": ("aux_*", {}),
    "focal(gamma=2)": ("focal", {"gamma": 2}),
    "crt(after=mixup)": ("crt", {"after": "mixup"}),
    " crt ( after = aux_random(weight=0.5, samplers=swapped), lr = 0.2 )": (
        "crt",
        {"after": "aux_random(weight=0.5, samplers=swapped)", "lr": 0.2},
    ),
    "lws(lr=1, after=crt(lr=2, after=focal(gamma=2)))": ("lws", {"lr": 1, "after": "crt(lr=2, after=focal(gamma=2))"}),
    "tau_norm(double_correction=true)": ("tau_norm", {"double_correction": True}),
}


@pytest.mark.parametrize("text", ENTRIES)
def test_an_entry_is_a_name_with_values_that_may_be_entries(text: str) -> None:
    assert parse_entry(text) == ENTRIES[text]
    assert parse_entry(written(*ENTRIES[text])) == ENTRIES[text]


@pytest.mark.parametrize(
    "text", ["", "(", "crt(", "crt)", "crt(after)", "crt(=ce)", "crt(after=ce", "crt(a=1,)", "(a=1)"]
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(InputError, match=r"is not understood; write NAME or NAME\(KEY=VALUE, \.\.\.\)"):
        parse_entry(text)
