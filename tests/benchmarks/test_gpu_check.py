"""The GPU check: sections in processes of their own, what is said loudly, and the defaults that follow."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_report
from benchmarks.gpu_check import SECTIONS, in_process
from benchmarks.gpu_defaults import BASE, defaults
from benchmarks.targets import verdicts

ROOT = Path(__file__).parent.parent.parent
Row = dict[str, Any]


def check(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu_check", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def pretended(out: Path, *words: str) -> list[Row]:
    done = check("--device", "pretended", "--tiny", "--out", str(out), *words)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "no time, default or target on this page means anything" in done.stdout
    return gpu_report.read(out / "gpu_check.jsonl")


def test_a_section_runs_on_the_pretended_gpu(tmp_path: Path) -> None:
    rows = pretended(tmp_path, "--sections", "smoke")
    assert [row["ran"] for row in rows if "ran" in row] == ["graph", "eager", "graph"]
    (ended,) = gpu_report.of(rows, "sections")
    assert (ended["name"], ended["status"]) == ("smoke", "done")
    assert (tmp_path / "gpu_check.md").read_text().startswith("# GPU check on pretended GPU")


@pytest.mark.slow
def test_every_section_runs_on_the_pretended_gpu(tmp_path: Path) -> None:
    rows = pretended(tmp_path, "--minutes", "30")
    assert [row["name"] for row in gpu_report.of(rows, "sections")] == [section.name for section in SECTIONS]
    assert {row["section"] for row in rows} == {"command", "sections", *(section.name for section in SECTIONS)}
    assert {row["wanted"] for row in gpu_report.of(rows, "steps")} == {"eager", "graph", "compiled"}
    assert [row["loss_difference"] for row in gpu_report.of(rows, "together")] == [0.0, 0.0]
    assert {row["loss_difference"] for row in gpu_report.of(rows, "methods")} == {0.0}
    assert gpu_report.of(rows, "long_run")[0]["evaluations"] == 2
    assert [row["status"] for row in gpu_report.of(rows, "gpu_tests")] == ["exit status 0"]


def test_a_machine_with_the_packages_that_it_lists_needs_no_others() -> None:
    """All others are hidden, as on such a machine."""
    code = """
import importlib, importlib.machinery, importlib.metadata, sys
from packaging.utils import canonicalize_name
from benchmarks.gpu_check import PRESENT, wheels, with_requirements
there = with_requirements(PRESENT) | set(wheels())
modules = importlib.metadata.packages_distributions().items()
hidden = {module for module, packages in modules if not {*map(canonicalize_name, packages)} & there}
hidden -= {"benchmarks", "ltbench", "methods", "tests"}
assert {"mlflow", "optuna", "sklearn"} <= hidden
class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Bare
for name in ("benchmarks.gpu_sections", "tests.conftest", "tests.engine.test_on_gpu", "tests.runner.test_threads"):
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_sections_fit_into_ten_minutes_with_the_start_of_their_processes() -> None:
    assert sum(section.seconds for section in SECTIONS) <= 690  # limits; expected are nine minutes


def test_a_section_that_fails_or_hangs_is_reported() -> None:
    code = "import sys; print('boom', file=sys.stderr); sys.exit(3)"
    assert in_process([sys.executable, "-c", code], 30) == ("failed", "exit status 3: boom")
    assert in_process([sys.executable, "-c", "import time; time.sleep(60)"], 1) == (
        "stopped",
        "it took longer than 1 s",
    )


def test_what_a_killed_section_has_measured_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    gpu_report.add(path, {"section": "steps", "ms_per_step": 1.0})
    with path.open("a") as file:
        file.write('{"section": "steps", "ms_per')
    assert gpu_report.read(path) == [{"section": "steps", "ms_per_step": 1.0}]


def test_the_wheels_to_carry_are_listed() -> None:
    assert "pydantic-core" in check("--list-wheels").stdout.split()


def test_warnings_name_failed_sections_and_other_tiers() -> None:
    rows = [
        {"section": "sections", "name": "steps", "status": "stopped", "why": "it took longer than 9 s", "seconds": 9.0},
        {"section": "steps", "precision": "fp32", "wanted": "graph", "ran": "eager", "reason": "capture failed: x"},
        {"section": "steps", "precision": "fp32", "wanted": "eager", "ran": "eager", "reason": ""},
        {"section": "methods", "method": "ce", "wanted": "graph", "ran": "graph", "error": "OSError: y"},
    ]
    assert gpu_report.warnings(rows) == [
        "section steps stopped after 9 s: it took longer than 9 s",
        "steps fp32: asked for graph, ran eager: capture failed: x",
        "methods ce: OSError: y",
    ]
    page = gpu_report.markdown(rows, [], [])
    assert page.index("asked for graph") < page.index("## Defaults")


# what follows from the rows


def step(tier: str, ms: float, **changes: Any) -> Row:
    return {"section": "steps", "wanted": tier, "ran": tier, "ms_per_step": ms} | BASE | changes


METHODS = [
    {"section": "methods", "method": name, "wanted": "graph", "ran": "graph", "loss_difference": 1e-5, "graph_ms": ms}
    for name, ms in (("ce", 1.0), ("bbn", 2.0))
]
STEPS = [step("eager", 5.0), step("graph", 1.25)]


def chosen(*rows: Row) -> dict[str, Any]:
    return {row["default"]: row["value"] for row in defaults(rows)}


def test_nothing_measured_changes_no_default() -> None:
    expected = {"tier": "eager", "precision": "fp32", "layout": "nhwc", "batch norm": "cudnn", "deterministic": True}
    assert chosen() == expected | {"runs per device": 1}
    assert {"not measured" in row["because"] for row in defaults([])} == {True}


def test_the_tier_is_the_fastest_that_every_method_can_use() -> None:
    assert chosen(*STEPS, *METHODS)["tier"] == "graph"
    assert chosen(*STEPS, *METHODS, step("compiled", 1.1))["tier"] == "graph"  # 1.14 times as fast
    assert chosen(*STEPS, *METHODS, step("compiled", 1.0))["tier"] == "compiled"
    assert chosen(*STEPS)["tier"] == "eager"  # methods were not compared
    for wrong in ({"ran": "eager"}, {"loss_difference": 0.1}, {"error": "x"}):
        assert chosen(*STEPS, METHODS[0], METHODS[1] | wrong)["tier"] == "eager"


def test_layout_and_batch_norm_are_the_faster_ones_and_bf16_needs_a_test_of_accuracy() -> None:
    fast = [step("graph", 1.0, layout="nchw"), step("graph", 1.0, batch_norm="native")]
    found = chosen(*STEPS, *fast, step("graph", 0.5, precision="bf16"), step("graph", 0.5, deterministic=False))
    assert (found["layout"], found["batch norm"]) == ("nchw", "native")
    assert (found["precision"], found["deterministic"]) == ("fp32", True)
    (row,) = [r for r in defaults([*STEPS, step("graph", 0.5, precision="bf16")]) if r["default"] == "precision"]
    assert row["because"].endswith("2.50 times as fast; compare accuracies over paired seeds")


@pytest.mark.parametrize(("speeds", "best"), [((100, 190, 300, 310, 320), 4), ((100, 101), 1), ((100, 190), 2)])
def test_runs_are_doubled_while_all_together_become_faster(speeds: tuple[float, ...], best: int) -> None:
    rows = [
        {"section": "together", "runs": 2**i, "ran": ["graph"], "steps_per_second": speed}
        for i, speed in enumerate(speeds)
    ]
    assert chosen(*rows)["runs per device"] == best


def test_the_targets_are_read_from_the_rows() -> None:
    rows = [*STEPS, *METHODS, {"section": "evaluation", "seconds": 0.02}]
    rows += [
        {"section": "together", "runs": n, "ran": ["graph"], "steps_per_second": speed}
        for n, speed in ((1, 800.0), (8, 2000.0))
    ]
    run = {"epochs": 200, "evaluations": 20, "ran": "graph", "seconds": 31.0, "peak_memory_bytes": 5e8}
    found = verdicts([*rows, {"section": "long_run"} | run])
    minutes = (12 * 3 * 200 * (85 + 99 + 153) * 1.5 / 2000 + 108 * 20 * 0.02) / 60
    assert [row["measured"] for row in found] == [4.0, 2.5, 31.0, 0.5, pytest.approx(minutes)]
    assert [row["met"] for row in found] == ["must", "aim", "missed", "must", "must"]
    assert {row["met"] for row in verdicts([])} == {"not measured"}
