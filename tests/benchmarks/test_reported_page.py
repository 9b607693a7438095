"""docs/reported.md: the generated part agrees with the methods' files and the committed records."""

from benchmarks.reported_page import MARKER, PAGE, committed_records, page
from ltbench.plan.recipe import Recipe
from tests.made import chosen, evaluated, record_of

AS_CAO = {
    "dataset": "cifar10",
    "recipe_values": Recipe(classifier_init="ldam", test_curve=True).model_dump(mode="json"),
}


def row(text: str, method: str = "ce", source: str = "Cao19 table 2") -> list[str]:
    """The cells of a row of the first table, CIFAR-10-LT at 100."""
    (line,) = [x for x in text.partition("50\n")[0].splitlines() if x.startswith(f"| [{method}](") and source in x]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text()
    assert page(written, committed_records()) == written, "run python -m benchmarks.reported_page"


def test_what_was_not_measured_says_so() -> None:
    assert row(page(MARKER, []))[1:] == ["70.36", "Cao19 table 2, A", "best-on-test", "not measured", ""]


def test_a_result_under_the_same_settings_has_a_verdict() -> None:
    every_epoch = [evaluated("train", epoch, 50.0) for epoch in range(1, 11)]
    epochs = {
        "evaluations": every_epoch,
        "protocols": {"last": chosen(), "best-on-test": chosen().model_copy(update={"accuracy": 70.0})},
    }
    seeds = [record_of("ce", seed=seed, **AS_CAO, **epochs) for seed in range(2)]
    ours = "70.0 ± 0.0 (resnet32_cifar, 200 epochs, best-on-test, 2 seeds)"
    assert row(page(MARKER, seeds))[4:] == [ours.replace("_", r"\_"), "within"]
    assert row(page(MARKER, seeds[:1]))[5] == "one seed: distance only"


def test_a_result_under_other_settings_is_not_compared() -> None:
    short = AS_CAO | {"recipe_values": Recipe(classifier_init="ldam", epochs=6).model_dump()}
    cells = row(page(MARKER, [record_of("ce", **short)]))
    assert cells[4].startswith("1.0 (resnet32\\_cifar, 6 epochs")
    assert cells[5].startswith("no: other recipe (epochs")
