"""docs/methods.md: the generated part agrees with the files of the methods."""

from benchmarks.methods_page import MARKER, PAGE, page
from tests.methods.given import REGISTRY


def test_the_page_is_up_to_date() -> None:
    assert page(PAGE.read_text(), REGISTRY) == PAGE.read_text(), "run python -m benchmarks.methods_page"


def test_the_page_has_every_method_hyperparameter_and_published_accuracy() -> None:
    sections = page(f"by hand\n{MARKER}old", REGISTRY).split("\n### ")
    assert sections[0].startswith(f"by hand\n{MARKER}\n## All methods")
    assert [section.partition("\n")[0] for section in sections[1:]] == list(REGISTRY)
    for section, entry in zip(sections[1:], REGISTRY.values(), strict=True):
        assert all(f"| `{name}` | " in section for name in entry.method.space())
        assert all(f"{figure.imbalance}: {figure.accuracy}" in section for figure in entry.method.published)
