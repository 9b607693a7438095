"""The environment of a run."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch

import ltbench
from ltbench.runner import environment as module


def test_versions_are_found_where_packages_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("ltbench", "timm"):
            raise PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr(module, "version", version)
    monkeypatch.setitem(module.sys.modules, "timm", None)  # type: ignore[arg-type]
    found = module.environment(torch.device("cpu", 7))  # of no other test: it is kept
    assert (found.ltbench, found.torch, found.timm) == (ltbench.__version__, "1.2.3", "not installed")
