"""The rooms of the package: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ltbench"
ROOMS = (
    "loaded",
    "errors",
    "units",
    "randomness",
    "metrics",
    "data",
    "models",
    "method",
    "plan",
    "engine",
    "results",
    "runner",
    "tuning",
    "export",
    "nightly",
    "show",
    "tracking",
    "check",
    "api",
    "cli",
)
"""Lowest first: a room may import itself and the rooms before it. ``ltbench`` itself is the door of method files."""


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(file: Path) -> set[str]:
    """Every module of the package that a file imports, also inside functions and for type checking."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("ltbench.") and room_of(name) in ROOMS}


FILES = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem not in ("__init__", "__main__")]


def test_every_file_is_in_a_room() -> None:
    assert {room_of(f"ltbench.{'.'.join(file.relative_to(PACKAGE).with_suffix('').parts)}") for file in FILES} == {
        *ROOMS
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_below_it(file: Path) -> None:
    own = ROOMS.index(file.relative_to(PACKAGE).with_suffix("").parts[0])
    upward = {name for name in imports(file) if ROOMS.index(room_of(name)) > own}
    assert upward == set()


def test_no_two_files_import_each_other() -> None:
    modules = {f"ltbench.{'.'.join(file.relative_to(PACKAGE).with_suffix('').parts)}": file for file in FILES}
    modules = {name.removesuffix(".__init__"): file for name, file in modules.items()}
    needs = {name: imports(file) & modules.keys() - {name} for name, file in modules.items()}
    left = {name: {other for other in others if not name.startswith(f"{other}.")} for name, others in needs.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert left == {}
