"""Which edit makes which results stale. Edits are made in a copy of the package and of the methods."""

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import ltbench
from ltbench.errors import InputError
from ltbench.method.registry import Entry, discover
from ltbench.method.source import (
    BUILTIN,
    ENGINE,
    NOT_COUNTED,
    PACKAGE,
    Code,
    Found,
    Present,
    Scope,
    digest_of,
    engine,
    engine_pieces,
)
from ltbench.method.syntax import canonical, parse

CLASSES = {name: entry.method.__qualname__ for name, entry in discover().items()}
Pieces = Mapping[str, str]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and of the methods."""
    shutil.copytree(PACKAGE, tmp_path / "copy" / "ltbench", ignore=shutil.ignore_patterns("__pycache__", "methods"))
    shutil.copytree(BUILTIN, tmp_path / "copy" / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def everything(copy: Path) -> tuple[Pieces, dict[str, Pieces]]:
    """The engine's pieces, and those of each method that are its own."""
    engine = engine_pieces(copy / "ltbench")
    code = Code(Scope(copy / "methods", package=copy / "ltbench"))
    found = {name: code.pieces(code.member(name, of)) for name, of in CLASSES.items()}
    return engine, {name: {k: v for k, v in own.items() if k not in engine} for name, own in found.items()}


def edited(copy: Path, file: str, old: str, new: str) -> tuple[set[str], set[str]]:
    """The methods that an edit makes stale by their own pieces, and the engine's pieces that it changes."""
    engine, methods = everything(copy)
    text = (copy / file).read_text()
    assert old in text, f"{file} has no {old}; correct the test"
    (copy / file).write_text(text.replace(old, new, 1))
    engine_now, methods_now = everything(copy)
    stale = {name for name in methods if methods[name] != methods_now[name]}
    return stale, {name for name in engine.keys() | engine_now.keys() if engine.get(name) != engine_now.get(name)}


def naming(*words: str) -> set[str]:
    """The methods whose file has any of these words."""
    pattern = re.compile(rf"\b({'|'.join(words)})\b")
    return {name for name in CLASSES if pattern.search((BUILTIN / f"{name}.py").read_text())}


@pytest.mark.parametrize(
    ("file", "old", "new", "users"),
    [
        ("method/functional.py", "clamp_min(1e-12)", "clamp_min(1e-9)", {"focal", "cb_focal"}),
        ("method/functional.py", "counts**-0.25", "counts**-0.5", naming("ldam_margins", "SharpnessAware")),
        ("method/decoupled.py", "epochs = Range(0.15", "epochs = Range(0.2", naming("Decoupled")),
        ("method/auxiliary.py", '"primary": class', '"primary": instance', naming("AuxiliaryLearning")),
        (
            "method/samplers.py",
            "np.float64) ** q",
            "np.float64) ** (q + 1)",
            naming("frequency_power", "PastedMinority"),
        ),
        ("metrics.py", "clamp_min(1)", "clamp_min(2)", naming("best_on")),
    ],
)
def test_editing_a_shared_formula_makes_exactly_its_users_stale(
    copy: Path, file: str, old: str, new: str, users: set[str]
) -> None:
    assert users
    assert edited(copy, f"ltbench/{file}", old, new) == (users, set())


def test_editing_a_function_that_functions_use_makes_the_users_of_these_stale(copy: Path) -> None:
    balanced = naming("class_balanced", "frequency_power", "progressively_balanced")
    inherited = naming("Decoupled", "AuxiliaryLearning", "PastedMinority")
    found = edited(copy, "ltbench/method/samplers.py", "pool.starts[classes] + ", "pool.starts[classes] + 0 + ")
    assert found == (balanced | inherited, set())


def test_editing_a_method_makes_it_alone_stale(copy: Path) -> None:
    assert edited(copy, "methods/focal.py", "focal_loss(", "2 * focal_loss(") == ({"focal"}, set())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("ltbench/method/functional.py", '    """', '    """Edited. '),
        ("ltbench/method/functional.py", "import math\n", "import math  # a comment\n\n\n"),
        ("ltbench/method/contract.py", '"""', '"""Edited. '),
        ("ltbench/engine/train.py", '    """', '    # a comment\n    """Edited. '),
        ("ltbench/method/functional.py", "log_prior(counts: Tensor) ->", "log_prior(\n    counts: Tensor,\n) ->"),
        ("ltbench/errors.py", "did you mean", "perhaps"),
        ("methods/focal.py", '"""', '"""Edited. '),
        ("methods/focal.py", "from ltbench import", "import math\nfrom ltbench import"),
        ("methods/focal.py", "70.38", "71.5"),
        ("methods/focal.py", "published = ", "published: tuple[Published, ...] = "),
        ("ltbench/method/published.py", "backbone: str", "network: str"),
    ],
)
def test_editing_a_docstring_a_comment_a_message_or_a_published_accuracy_makes_nothing_stale(
    copy: Path, file: str, old: str, new: str
) -> None:
    assert edited(copy, file, old, new) == (set(), set())


@pytest.mark.parametrize(
    ("file", "old", "new", "piece"),
    [
        ("metrics.py", "ECE_BINS = 15", "ECE_BINS = 20", "ltbench.metrics.ECE_BINS"),
        ("data/longtail.py", "mu = 1 / factor", "mu = 2 / factor", "ltbench.data.longtail.shares"),
        ("data/official.py", "0.4914", "0.5", "ltbench.data.official.CIFAR_MEAN"),
        ("models/cifar_resnet.py", "kaiming_normal_", "xavier_normal_", "ltbench.models.cifar_resnet.CifarResNet"),
        ("method/contract.py", "F.cross_entropy", "2 * F.cross_entropy", "ltbench.method.contract.Method"),
    ],
)
def test_an_edit_of_engine_data_or_model_code_counts_for_every_method(
    copy: Path, file: str, old: str, new: str, piece: str
) -> None:
    stale, changed = edited(copy, f"ltbench/{file}", old, new)
    assert stale == set()
    assert piece in changed
    assert all(name.rpartition(".")[0] == piece.rpartition(".")[0] for name in changed)


@pytest.mark.parametrize("file", ["results/store.py", "runner/progress.py", "cli/run.py", "runner/checkpoint.py"])
def test_an_edit_of_what_changes_no_number_makes_nothing_stale(copy: Path, file: str) -> None:
    text = (copy / "ltbench" / file).read_text()
    found = edited(copy, f"ltbench/{file}", text, text.replace("return", "return 0 or") + "\nX = 1\n")
    assert found == (set(), set())


def test_every_name_in_the_lists_of_what_counts_exists() -> None:
    code = Code(Scope())
    assert all(code.hash_of(name) for name in ENGINE)
    assert all(code.scope.find(name) or code.hash_of(name) for name in NOT_COUNTED)


def test_a_name_of_the_engine_that_is_gone_is_an_error(copy: Path) -> None:
    file = copy / "ltbench" / "data" / "images.py"
    file.write_text(file.read_text().replace("def cut(", "def slice_("))
    with pytest.raises(LookupError, match="ltbench.data.images.cut does not exist"):
        engine_pieces(copy / "ltbench")


def test_the_names_that_the_package_loads_late_are_those_that_the_type_checker_sees() -> None:
    code = Code(Scope())
    for name, module in ltbench._HOME.items():
        assert code.member("ltbench", name) == code.member(module, name)
        assert [found.name for found in code.member("ltbench", name)] == [name]


# a small package in a folder of its own


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Code]:
    """Writes modules into a folder: ``folder(mine="x = 1")``; returns its code. ``package__x`` is in a package."""

    def write(**modules: str) -> Code:
        for name, text in modules.items():
            file = tmp_path / "folder" / f"{name.replace('package__', 'package/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return Code(Scope(tmp_path / "folder"))

    return write


def names_of(code: Code, name: str = "use", module: str = "mine") -> list[str]:
    return list(code.pieces([Found(module, name)]))


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("def use(): return other()", "other"),
        ("@other\ndef use(): pass", "other"),
        ("@other(1)\nclass use: pass", "other"),
        ("def use(x=other): pass", "other"),
        ("def use(*, x=other()): pass", "other"),
        ("def use(x: other): pass", "other"),
        ("class use(other): pass", "other"),
        ("class use(metaclass=other): pass", "other"),
        ("class use:\n    x = other", "other"),
        ("use = [other.x.y for _ in ()]", "other"),
        ("use = 1\nuse += other", "other"),
        ("use, also = other, 1", "other"),
        ("def use():\n    def inner(): return lambda: other\n    return inner", "other"),
        ("def use(): return f'{other}'", "other"),
        ("def use(): return third()\ndef third(): return other", "other"),
    ],
)
def test_a_piece_depends_on_every_name_that_it_uses(text: str, needed: str, folder: Callable[..., Code]) -> None:
    code = folder(mine=f"{text}\ndef other(): pass\ndef unused(): pass\n")
    assert f"mine.{needed}" in names_of(code)
    assert "mine.unused" not in names_of(code)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("from lib import f\nuse = f", {"lib.f"}),
        ("from lib import f as g\nuse = g", {"lib.f"}),
        ("import lib\nuse = lib.f", {"lib.f"}),
        ("import lib as z\nuse = z.f.attribute", {"lib.f"}),
        ("from .lib import f\nuse = f", {"lib.f"}),
        ("from . import lib\nuse = lib.f", {"lib.f"}),
        ("from lib import *\nuse = f", {"lib.f"}),
        ("def use():\n    from lib import f\n    return f()", {"lib.f"}),
        ("def use():\n    import lib\n    return lib.f()", {"lib.f"}),
        ("try:\n    from lib import f\nexcept ImportError:\n    f = None\nuse = f", {"lib.f", "mine"}),
        ("from package import f\nuse = f", {"package.inner.f"}),
        ("from package import renamed\nuse = renamed", {"package.inner.f"}),
        ("import package\nuse = package.inner.f", {"package.inner.f"}),
        ("import package.inner\nuse = package.inner.f", {"package.inner.f"}),
        ("from package.inner import up\nuse = up", {"package.inner.up", "lib.f"}),
        ("import lib\ndef use(name): return getattr(lib, name)", {"lib.f", "lib.g", "lib.N"}),
        ("import lib\nuse = lib.missing", {"lib.f", "lib.g", "lib.N"}),
        ("import lib\nuse = lib.missing.f", {"lib.f", "lib.g", "lib.N"}),
        ("from lib import missing\nuse = missing.f", {"lib.f", "lib.g", "lib.N"}),
        ("from lib import missing\nuse = missing", {"lib.f", "lib.g", "lib.N"}),
        ("import package\ndef use(name): return getattr(package, name)", {"package.inner.f", "package.inner.up"}),
    ],
)
def test_names_are_followed_through_imports_and_else_the_whole_module_counts(
    text: str, needed: set[str], folder: Callable[..., Code]
) -> None:
    code = folder(
        mine=text,
        lib="N = 1\ndef f(): return N\ndef g(): pass\n",
        package____init__="from package.inner import f, f as renamed, up\n",
        package__inner="from lib import f as g\ndef f(): pass\ndef up(): return g()\n",
    )
    found = set(names_of(code)) - {"mine.use"}
    assert needed <= found
    extra = {"lib.N"} if "lib.f" in needed else set()
    assert found - needed <= extra | ({"lib.f", "lib.N"} if "package.inner.up" in needed else set())


@pytest.mark.parametrize(
    "effect", ["TABLE.update(x=1)", "TABLE['x'] = 1", "if use:\n    pass", "for _ in (): pass", "use.attribute = 1"]
)
def test_a_statement_that_runs_at_import_counts_for_every_name_of_its_module(
    effect: str, folder: Callable[..., Code]
) -> None:
    code = folder(mine=f"TABLE = {{}}\nuse = other = 1\n{effect}\n", client="import mine\nuse = 1\n")
    assert {"mine", "mine.other"} <= set(names_of(code, "other"))
    assert "mine" in names_of(code, "use", "client")


def test_a_module_that_imports_in_a_circle_is_resolved(folder: Callable[..., Code]) -> None:
    stars = {"a": "from b import *\nfrom c import *\nuse = q", "b": "from a import *\nuse = q", "c": "q = 1"}
    code = folder(**stars, mine="import a\nuse = a.q")
    assert names_of(code, "use", "b") == ["b.use", "c.q"]
    assert names_of(code, "use", "a") == ["a.use", "c.q"]
    assert names_of(code) == ["c.q", "mine.use"]


def test_the_same_name_of_another_package_is_another_piece(folder: Callable[..., Code]) -> None:
    hashes = {
        folder(mine=f"{line}\nuse = F.relu").pieces([Found("mine", "use")])["mine.use"]
        for line in ("import torch.nn.functional as F", "from torch.nn import functional as F", "import jax.nn as F")
    }
    assert len(hashes) == 2


def test_an_installed_package_is_followed_and_its_neighbours_are_not(folder: Callable[..., Code]) -> None:
    text = "from package.inner import f\nimport other\nuse = f, other.g"
    code = folder(package____init__=text, package__inner="def f(): pass", other="def g(): pass")
    assert code.scope.folder is not None
    scope = Scope.installed("package", code.scope.folder / "package" / "__init__.py")
    assert scope == Scope(code.scope.folder, "package")
    assert Scope.installed("package.inner", code.scope.folder / "package" / "inner.py") == scope
    assert names_of(Code(scope), "use", "package") == ["package.inner.f", "package.use"]


# the same under every version of Python

SAMPLE = '''
"""Removed."""
def f(a, /, b: int = 1, *c, d, e=2.0, **k) -> None:
    """Removed."""
    return {**k, "ä": [x async for x in a if x]}, b"\\xff", ..., -1e-3, 1_000, True

class A(B, metaclass=C):
    """Removed."""
    x: int = field()
    "removed"
    y = f"{x!r:>{w}} {y=} {{z}} {z:%H}" "tail" f"" rf"\\d{x:}" f"{'a'}"

match f:
    case {"a": [1, *_], **r} | A(b=None): pass
try:
    with (a as b, c as d): x[1:2, ::3, *y] = u"text"
except* E as e: raise
'''


def test_the_hash_is_the_same_under_every_version_of_python(folder: Callable[..., Code]) -> None:
    text = canonical([*parse(SAMPLE.encode()).definitions.values(), parse(SAMPLE.encode()).effects])
    assert "emoved" not in text
    assert digest_of({"sample": text}) == "49a247321c17e71c"
    lib = "from torch import nn\nN = 2\nclass Base(nn.Module): n = N\n"
    code = folder(mine="import lib\nT = {}\nT.update(x=1)\nclass use(lib.Base): 'removed'\n", lib=lib)
    assert names_of(code) == ["lib.Base", "lib.N", "mine", "mine.T", "mine.use"]
    assert digest_of(code.pieces([Found("mine", "use")])) == "83675d7cfd11837f"


@pytest.mark.parametrize(("old", "new"), [("2.0", "2"), ("True", "1"), ("!r", "!s"), ("d, e", "e, d"), ("tail", "tai")])
def test_any_other_change_of_the_syntax_changes_the_form(old: str, new: str) -> None:
    before, after = parse(SAMPLE.encode()), parse(SAMPLE.replace(old, new).encode())
    assert [canonical(x) for x in before.definitions.values()] != [canonical(x) for x in after.definitions.values()]


# a helper beside a method

MINE = """
from ltbench import Method, Range
{imports}
class Mine(Method):
    "Mine."
    factor = Range({value}, 0.0, 99.0)
"""
HELPER = "SCALE = 2.0\ndef scale(): return SCALE\ndef unused(): return 1\n"
IMPORTS = [
    ("from _lib import scale", "scale()"),
    ("import _lib", "_lib.scale()"),
    ("from ._lib import scale", "scale()"),
    ("from . import _lib as lib", "lib.scale()"),
    ("from _second import scale", "scale()"),
]


def mine(imports: str = "from _lib import scale", value: str = "scale()", at: str = "methods") -> Path:
    Path(at).mkdir(exist_ok=True)
    Path(at, "mine.py").write_text(MINE.format(imports=imports, value=value))
    Path(at, "_lib.py").write_text(HELPER)
    Path(at, "_second.py").write_text("from _lib import scale")
    return Path(at, "_lib.py")


def default(entry: Entry) -> object:
    return entry.method.space()["factor"].default


@pytest.mark.parametrize(("imports", "value"), IMPORTS)
def test_a_helper_beside_a_method_is_loaded_and_counts(imports: str, value: str) -> None:
    helper = mine(imports, value)
    before = discover()
    assert default(before["mine"]) == 2.0
    assert {"mine.Mine", "_lib.scale", "_lib.SCALE"} <= before["mine"].pieces.keys()
    helper.write_text(HELPER.replace("return 1", "return 2") + "# a comment\n")
    assert discover()["mine"].source == before["mine"].source
    helper.write_text(HELPER.replace("2.0", "31.5"))
    after = discover()
    assert default(after["mine"]) == 31.5
    assert [name for name in before if before[name].source != after[name].source] == ["mine"]


def test_helpers_of_the_same_name_in_two_folders_do_not_meet() -> None:
    mine()
    mine(at="more").write_text(HELPER.replace("2.0", "31.5"))
    Path("more/mine.py").rename("more/yours.py")
    registry = discover([Path("more")])
    assert (default(registry["mine"]), default(registry["yours"])) == (2.0, 31.5)
    assert registry["mine"].pieces["_lib.SCALE"] != registry["yours"].pieces["_lib.SCALE"]


def test_a_helper_that_another_module_hides_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mine()
    Path("hiding").mkdir()
    Path("hiding/_lib.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(Path("hiding").resolve()))
    sys.modules.pop("_lib", None)
    reason = discover().broken["mine"]
    sys.modules.pop("_lib", None)
    assert re.search(r"imports '_lib' from \S+hiding\S+ and not from \S+methods\S+ beside it; rename", reason)


def test_a_helper_without_an_underscore_is_no_broken_method() -> None:
    Path("methods").mkdir()
    Path("methods/mine.py").write_text(MINE.format(imports="from formulas import scale", value="scale()"))
    Path("methods/formulas.py").write_text(HELPER)
    Path("methods/other.py").write_text("x = 1")
    registry = discover()
    assert "mine" in registry
    assert list(registry.broken) == ["other"]
    with pytest.raises(InputError, match="unknown method 'formulas'"):
        registry.match(["formulas"])


# what has changed since


def test_what_has_changed_is_found_by_name_without_loading_a_method() -> None:
    helper = mine()
    sources = {**discover()["mine"].pieces, **discover()["focal"].pieces}
    assert Present().changes(sources) == {}
    helper.write_text(HELPER.replace("2.0", "31.5"))
    assert Present().changes(sources) == {"_lib.SCALE": "edited"}
    helper.write_text("def scale(): return 1")
    assert Present().changes(sources) == {"_lib.SCALE": "not found", "_lib.scale": "edited"}
    helper.write_text("def scale(:")
    assert Present().changes(sources) == {
        "_lib": "edited",  # what cannot be parsed may do anything
        "_lib.SCALE": "not found",
        "_lib.scale": "not found",
        "mine.Mine": "edited",  # what its names stand for is not known any more
    }


def test_a_statement_that_a_module_gains_is_a_change() -> None:
    helper = mine()
    sources = discover()["mine"].pieces
    helper.write_text(f"{HELPER}\nscale.of = 'mine'\n")
    assert discover()["mine"].pieces != sources
    assert Present().changes(sources) == {"_lib": "edited"}


def test_no_method_is_stale_as_it_is() -> None:
    present = Present()
    assert all(present.changes({**engine(), **entry.pieces}) == {} for entry in discover().values())


def test_a_method_in_another_folder_is_found_when_the_folder_is_given() -> None:
    mine(at="more")
    sources = discover([Path("more")])["mine"].pieces
    assert Present([Path("more")]).changes(sources) == {}
    assert Present().changes({"no_such_method.X": "0"}) == {"no_such_method.X": "no file"}
