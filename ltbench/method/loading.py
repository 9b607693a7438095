"""Load the class of a method from its file.

The file can import the modules beside it by their name (``from _mine import formula``) and relative to itself
(``from ._mine import formula``). Each method file loads them again, so that an edit counts within one Python session.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from ltbench.errors import InputError, one_line
from ltbench.method.contract import Method
from ltbench.method.source import ADDED_TO_PATH, Code, Scope

MODULES = "ltbench_methods_"


def load(file: Path, code: Code | None = None) -> type[Method]:
    """The method that a file defines. Whatever the file raises is passed on.

    Args:
        file: of the method.
        code: reads it and the modules beside it before they are loaded.

    Raises:
        InputError: for a file that defines no method or more than one, and when Python finds another module first
            than the one beside the file.
    """
    return method_of(_import(file, code or Code(Scope(file.parent))), file.stem)


def method_of(module: ModuleType, name: str) -> type[Method]:
    """The one class of a module that is a method; it gets this name."""
    methods = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Method)]
    own = [m for m in methods if m.__module__ == module.__name__]
    if len(own) != 1:
        raise InputError(
            f"a method file defines one class derived from ltbench.Method; this one defines {len(own)} "
            "(the name of a file without a method begins with '_')"
        )
    own[0].name = name
    return own[0]


def error_of_loading(file: Path, module: str | None) -> str:
    """Load a method's file, or the module of an installed package.

    Returns:
        The error in one line; empty where there is none.
    """
    try:
        if module is None:
            load(file)
        else:
            importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return one_line(error)
    return ""


def is_file_module(method: type[Method]) -> bool:
    """Whether a method was loaded from a file of its own, and not from an installed package."""
    return method.__module__.startswith(MODULES)


def _import(file: Path, code: Code) -> ModuleType:
    package = f"{MODULES}{hashlib.sha256(bytes(file)).hexdigest()[:8]}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = [str(file.parent)]
    beside = code.neighbours(file.stem)
    if beside:
        _prepare_path(file.parent, beside)
    name = f"{package}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    for helper, place in beside.items():
        if (found := _origin(helper)) is not None and found != place.resolve():
            raise InputError(f"it imports '{helper}' from {found} and not from {place} beside it; rename the latter")
    return module


def _prepare_path(folder: Path, beside: Mapping[str, Path]) -> None:
    """Add a folder to the end of Python's path, and unload the modules of these names from any such folder."""
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] in beside]:
        origin = _origin(name.partition(".")[0])
        if origin is None or any(origin.is_relative_to(other) for other in ADDED_TO_PATH):
            del sys.modules[name]
    here = str(folder.resolve())
    ADDED_TO_PATH.add(here)
    others = [place for place in sys.path if place in ADDED_TO_PATH and place != here]
    sys.path[:] = [*(place for place in sys.path if place not in ADDED_TO_PATH), here, *others]


def _origin(name: str) -> Path | None:
    """The file that a loaded module was read from."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file).resolve() if file else None
