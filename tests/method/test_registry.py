import importlib.metadata
import sys
import textwrap
from pathlib import Path

import pytest

from ltbench.errors import InputError
from ltbench.method.registry import discover
from ltbench.method.source import BUILTIN

MINE = """
from ltbench import Method
class Mine(Method):
    "Mine, better than all."
"""


def write(path: str, text: str = MINE) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def test_all_four_ways_of_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    write("methods/here.py")
    write("elsewhere/there.py")
    write("package/my_package.py")
    monkeypatch.syspath_prepend(str(Path("package").resolve()))
    point = importlib.metadata.EntryPoint("installed", "my_package:Mine", "ltbench.methods")
    monkeypatch.setattr(
        "ltbench.method.registry.entry_points", lambda group: [point] if group == "ltbench.methods" else []
    )
    registry = discover([Path("elsewhere")])
    assert {"ce", "here", "there", "installed"} <= set(registry)
    assert registry["installed"].file == Path("package/my_package.py").resolve()
    assert registry["here"].about == "Mine, better than all."
    assert registry["here"].method.name == "here"
    sys.modules.pop("my_package")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def (", "SyntaxError"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("x = 1", "defines 0"),
        (MINE + "class Other(Method): pass", "defines 2"),
        ("raise SystemError('boom')", "boom"),
    ],
)
def test_a_broken_file_is_named_and_takes_nothing_else_down(text: str, reason: str) -> None:
    write("methods/broken.py", text)
    write("methods/mine.py")
    registry = discover()
    assert {"ce", "mine"} <= set(registry)
    assert "broken" not in registry
    assert "broken.py" in registry.broken["broken"]
    assert reason in registry.broken["broken"]
    assert "\n" not in registry.broken["broken"]


def test_a_method_whose_stages_fail_is_refused_and_stops_no_other() -> None:
    file = write("methods/typo.py", MINE + "    def stages(self): return (Stage(loss=self.lossy),)")
    file.write_text(file.read_text().replace("import Method", "import Method, Stage"))
    write("methods/later.py", MINE + "    after = 'typo'")
    registry = discover()
    assert "ce" in registry
    assert not {"typo", "later"} & set(registry)
    for name in ("typo", "later"):
        assert registry.broken[name].startswith(f"{file.resolve()}: stages() fails: AttributeError: ")
        assert "lossy" in registry.broken[name]


def test_a_name_twice_is_refused_with_both_files() -> None:
    file = write("methods/ce.py")
    with pytest.raises(InputError) as error:
        discover()
    assert str(file.resolve()) in str(error.value)
    assert str(BUILTIN / "ce.py") in str(error.value)


def test_the_same_file_twice_is_one_method() -> None:
    write("methods/ce.py", (BUILTIN / "ce.py").read_text())
    assert discover()["ce"].file == BUILTIN / "ce.py"


def test_editing_a_file_changes_its_source_and_no_other() -> None:
    file = write("methods/mine.py")
    before = {name: entry.source for name, entry in discover().items()}
    file.write_text(file.read_text() + "\n    cost = 2.0\n")
    after = {name: entry.source for name, entry in discover().items()}
    assert [name for name in before if before[name] != after[name]] == ["mine"]


def test_patterns_and_unknown_names() -> None:
    registry = discover()
    assert registry.match(["?rt*"])[0] == ["crt", "crt_mixup", "crt_swa"]
    assert registry.match(["ldam*", "ce"])[0] == ["ce", "ldam", "ldam_drw"]
    with pytest.raises(InputError, match="unknown method 'ldma_drw'; did you mean 'ldam_drw'"):
        registry.match(["ldma_drw"])


def test_a_chain_that_leads_nowhere_or_in_a_circle_is_refused() -> None:
    write("methods/lost.py", MINE + "    after = 'nothing'")
    write("methods/one.py", MINE + "    after = 'two'")
    write("methods/two.py", MINE + "    after = 'one'")
    registry = discover()
    with pytest.raises(InputError, match="comes after 'nothing', which does not exist"):
        registry.chain("lost", {})
    with pytest.raises(InputError, match="comes after itself"):
        registry.chain("one", {})
    assert [entry.name for entry, _ in registry.chain("crt", {})] == ["ce", "crt"]


def test_a_folder_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="methods folder nowhere does not exist"):
        discover([Path("nowhere")])
