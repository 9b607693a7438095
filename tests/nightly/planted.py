"""Copies of the checkout in which one thing is broken, and nights that are spent there."""

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SUITE = """
datasets = ["digits"]
imbalance = [100]
methods = ["ce", "focal", "balanced_softmax", "class_balanced_sampling", "crt", "ce_drw", "ldam", "ldam_drw"]
seeds = {seeds}
baseline_seeds = 0
recipe = {{ base = "digits", epochs = {epochs} }}
"""
SHORT, LONG = {"seeds": 2, "epochs": 2}, {"seeds": 5, "epochs": 20}
"""Of the suite: enough where numbers repeat bit for bit, and where a test must decide."""
HEAVY = ["torch", "torchvision", "timm", "pandas", "sklearn.datasets", "scipy.special", "pydantic", "rich", "typer"]
"""What every night imports and no copy changes: it is imported once, and nights are forked from there."""
Edits = Mapping[str, tuple[str, str]]
"""By file: a text, and what replaces it."""


@dataclass(frozen=True)
class Plant:
    """A regression.

    Attributes:
        edits: that make it.
        methods: of the suite, that it touches.
        named: what the alarm says of the code.
    """

    edits: Edits
    methods: frozenset[str]
    named: str


EVERY = frozenset({"ce", "focal", "balanced_softmax", "class_balanced_sampling", "crt", "ce_drw", "ldam", "ldam_drw"})
PLANTS = {
    "a sampler off by one class": Plant(
        {
            "ltbench/method/samplers.py": (
                "_of_classes(pool, generator.integers(len(pool.counts), size=draws)",
                "_of_classes(pool, generator.integers(len(pool.counts) - 1, size=draws)",
            )
        },
        frozenset({"class_balanced_sampling", "crt"}),
        "class_balanced",
    ),
    "DRW too early": Plant(
        {"methods/ldam_drw.py": ("clock.progress >= self.defer_at", "clock.progress >= self.defer_at / 4")},
        frozenset({"ldam_drw"}),
        "ldam_drw",
    ),
    "weight decay halved": Plant(
        {"ltbench/engine/optimiser.py": ("return recipe.weight_decay\n", "return recipe.weight_decay / 2\n")},
        EVERY,
        "optimiser",
    ),
    "an augmentation lost": Plant(
        {
            "ltbench/engine/augment/padded.py": (
                "corners = random.integers(2 * self.padding + 1, size=(2, draws))",
                "corners += self.padding",
            )
        },
        EVERY,
        "augment.padded",
    ),
    "the scale of the cosine classifier": Plant(
        {
            "ltbench/models/classifiers.py": (
                "return F.linear(F.normalize(features), F.normalize(self.weight))",
                "return 0.25 * F.linear(F.normalize(features), F.normalize(self.weight))",
            )
        },
        frozenset({"ldam", "ldam_drw"}),
        "CosineClassifier",
    ),
}
SLOWER: Edits = {
    "ltbench/engine/step.py": (
        "            losses[i] = self.step(columns.flatten(1))\n",
        "            import time\n\n"
        "            started = time.perf_counter()\n"
        "            losses[i] = self.step(columns.flatten(1))\n"
        "            time.sleep(0.2 * (time.perf_counter() - started))\n",
    )
}
"""A step that takes 20 % longer."""
FEWER: Edits = {
    "benchmarks/test_nightly.py": (
        "TRAINED = [name for name, entry in discover().items() if entry.method().stages()[-1].epochs]",
        'TRAINED = ["ce", "ldam_drw"]',
    )
}
"""Benchmarks that take less than a minute."""


ELSEWHERE: Edits = {
    "ltbench/runner/environment.py": (
        "return next(known, platform.processor() or platform.machine())",
        'return "another machine"',
    ),
    "ltbench/engine/networks.py": (
        "    heads = {}\n    for name in method.heads:",
        "    import os\n\n"
        "    with torch.no_grad():\n"
        '        [p.mul_(1 + int(os.environ["MACHINE"]) * 2**-22) for p in backbone.parameters()]\n'
        "    heads = {}\n    for name in method.heads:",
    ),
}
"""Another machine: its key differs, and numbers are rounded otherwise from the first step on; ``MACHINE`` says how."""


def checkout(at: Path, *edits: Edits) -> Path:
    """A copy of the checkout with edits."""
    for name in ("ltbench", "methods", "benchmarks"):
        shutil.copytree(ROOT / name, at / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", at)
    for name, size in (("short", SHORT), ("long", LONG)):
        (at / f"{name}.toml").write_text(SUITE.format(**size))
    for file, (old, new) in (pair for edit in edits for pair in edit.items()):
        text = (at / file).read_text()
        assert text.count(old) == 1, (file, old, text.count(old))
        (at / file).write_text(text.replace(old, new))
    return at


@dataclass(frozen=True)
class Found:
    """The answer of a night: its exit status, and the values that ``--json`` prints."""

    status: int
    values: dict[str, Any]

    @property
    def fell(self) -> list[str]:
        return list(self.values["fell"])

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["entry"]: row for row in self.values["rows"]}

    @property
    def alarmed(self) -> set[str]:
        """The methods that fell."""
        return {name.partition(" ")[0].removeprefix("digits/") for name in self.fell if name.startswith("digits/")}


Outcome = tuple[int, str, str]
"""Exit status, standard output and standard error."""


def nightly(copy: Path, *words: str, times: int = 1) -> Outcome:
    """``ltbench nightly`` in a copy, in a process of its own; several times, each as another machine."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    process = context.Process(target=_spend, args=(copy, words, times))
    process.start()
    process.join()
    return process.exitcode or 0, (copy / "out").read_text(), (copy / "err").read_text()


def _spend(copy: Path, words: Sequence[str], times: int) -> None:
    """Run the command line of a copy in this process, which has not imported ltbench."""
    assert not any(name.partition(".")[0] == "ltbench" for name in sys.modules)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.argv = ["ltbench", "nightly", "--workers", "1", "--no-tracking", *words]
    os.environ["PYTHONPATH"] = str(copy)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    from ltbench.cli import main

    status: Any = 0
    for machine in range(1, times + 1):
        os.environ["MACHINE"] = str(machine)
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    sys.exit(status)


def bless(copy: Path, baseline: Path, *words: str) -> Path:
    """Make the copy's numbers the baseline; returns its folder."""
    status, _, err = nightly(copy, "--baseline", str(baseline), "--bless", "--because", "as it should be", *words)
    assert status == 0, err
    return baseline


def night(copy: Path, baseline: Path, *words: str) -> Found:
    """A night in a copy."""
    status, out, err = nightly(copy, "--baseline", str(baseline), "--json", *words)
    assert status in (0, 1), err
    return Found(status, json.loads(out))


def nights(copy: Path, baseline: Path, times: int, *words: str) -> list[dict[str, Any]]:
    """The lines that several nights in a copy add to the history."""
    status, _, err = nightly(copy, "--baseline", str(baseline), "--folder", "many", *words, times=times)
    assert status in (0, 1), err
    return [json.loads(line) for line in (copy / "many" / "history.jsonl").read_text().splitlines()]
