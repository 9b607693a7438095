"""Check in ten minutes whether ltbench works on a GPU, how fast it is, and which defaults follow.

    python -m benchmarks.gpu_check --out results/gpu                             # on a GPU, no network
    python -m benchmarks.gpu_check --out DIR --device pretended --tiny           # the same path on any machine
    python -m benchmarks.gpu_check --list-wheels                                 # what to carry to a bare machine

Each section runs in a process of its own with its own time limit, so that a crash or a hang costs one section. Rows are
written to ``gpu_check.jsonl`` as they are measured; ``gpu_check.md`` is written again after every section, with the
warnings first: sections that failed, and steps that did not run in the tier that was asked for. Besides torch 2.11 or
newer, it needs timm and the packages of ``--list-wheels``. Expected on an H200 (estimated; no GPU has run it): nine
minutes. It asserts nothing.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gpu_report

PRESENT = ("torch", "torchvision", "timm", "numpy", "pandas", "scipy")
"""Packages that an image for a GPU usually has."""
NEEDED = ("filelock", "pydantic", "pytest", "rich", "typer")
"""Packages that it may lack."""


@dataclass(frozen=True)
class Section:
    """A section and its time limit in seconds."""

    name: str
    seconds: float


SECTIONS = (
    Section("smoke", 40),
    Section("kernels", 45),
    Section("steps", 150),
    Section("together", 80),
    Section("evaluation", 20),
    Section("long_run", 60),
    Section("methods", 100),
    Section("gpu_tests", 150),
    Section("plain_loop", 40),
)
"""In the order in which they decide something: what comes late is lost first."""


def with_requirements(packages: Iterable[str]) -> set[str]:
    """The packages and everything that they require here, by name."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found, waiting = set[str](), list(packages)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            required = map(Requirement, requires(name) or ())
            waiting += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def wheels() -> list[str]:
    """The packages to carry to a machine that has only those of ``PRESENT``.

    pydantic-core is compiled, so its wheel must be for the Python of that machine.
    """
    return sorted(with_requirements(NEEDED) - with_requirements(PRESENT))


def measure(section: str, device: str, tiny: bool, images: str | None, path: Path) -> None:
    """Measure one section in this process, and add its rows to a file."""
    from benchmarks.gpu_sections import MEASURES, Setting, on
    from ltbench.engine.process import prepare

    prepare()
    with on(device) as (place, real):
        setting = Setting(place, real, tiny, images, gpu_report.read(path))
        for row in MEASURES[section](setting):
            gpu_report.add(path, {"section": section} | row)


def in_process(command: list[str], seconds: float) -> tuple[str, str]:
    """Run a command for at most so many seconds; returns ``done``, ``failed`` or ``stopped``, and why."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "stopped", f"it took longer than {seconds:.0f} s"
    if process.returncode:
        last = (said.strip().splitlines() or [""])[-1]
        return "failed", f"exit status {process.returncode}: {last}"
    return "done", ""


def write_page(path: Path) -> list[gpu_report.Row]:
    """Write the Markdown page of the rows in a file; returns the rows."""
    from benchmarks.gpu_defaults import defaults
    from benchmarks.targets import verdicts

    rows = gpu_report.read(path)
    path.with_suffix(".md").write_text(gpu_report.markdown(rows, verdicts(rows), defaults(rows)))
    return rows


def main() -> None:
    """Run the sections one after another, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for gpu_check.jsonl and gpu_check.md")
    parser.add_argument("--images", help="image folder in place of generated images")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, ..., or pretended")
    parser.add_argument("--minutes", type=float, default=9.5, help="sections that do not fit are shortened or skipped")
    parser.add_argument("--sections", help="only these, separated by commas")
    parser.add_argument("--tiny", action="store_true", help="a small network, few images, few epochs")
    parser.add_argument("--list-wheels", action="store_true", help="print the packages to carry to a bare machine")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # one section, in this process
    options = parser.parse_args()
    if options.list_wheels:
        print("\n".join(wheels()))
        return
    if options.out is None:
        parser.error("--out DIR is missing: the folder for the results")
    path = options.out / "gpu_check.jsonl"
    if options.measure:
        measure(options.measure, options.device, options.tiny, options.images, path)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    gpu_report.add(
        path, {"section": "command", "device": options.device, "tiny": options.tiny, "images": options.images}
    )
    ends = time.monotonic() + 60 * options.minutes
    names = options.sections.split(",") if options.sections else [section.name for section in SECTIONS]
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--out", str(options.out), "--device", options.device]
    command += ["--tiny"] * options.tiny + (["--images", options.images] if options.images else [])
    warned = 0
    for section in (section for section in SECTIONS if section.name in names):
        started = time.monotonic()
        limit = min(section.seconds, ends - started)
        status, why = "skipped", "no time is left"
        if limit > 1:
            status, why = in_process([*command, "--measure", section.name], limit)
        row = {"section": "sections", "name": section.name, "status": status, "why": why}
        gpu_report.add(path, row | {"seconds": time.monotonic() - started})
        found = gpu_report.warnings(write_page(path))
        print(f"{section.name}: {status}, {time.monotonic() - started:.1f} s", flush=True)
        for line in found[warned:]:
            print(f"WARNING: {line}", file=sys.stderr, flush=True)
        warned = len(found)
    print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
