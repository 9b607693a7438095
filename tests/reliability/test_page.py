"""docs/reliability.md has every fault that a test makes."""

from tests.reliability.page import HEAD, HERE, named

PAGE = (HERE.parents[1] / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_the_page_has_every_fault() -> None:
    assert HEAD in PAGE
    rows = [(area, what.replace("|", "\\|")) for area, what in named()]
    missing = [what for area, what in rows if f"\n## {area}\n" not in PAGE or f"\n| {what} |" not in PAGE]
    assert not missing, "run pytest tests/reliability -m 'not long' --page docs/reliability.md"
