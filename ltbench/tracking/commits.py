"""The git commits of method files."""

import subprocess
from pathlib import Path

from ltbench.method.source import places


def commits() -> dict[str, str]:
    """The commit that last changed the file of each method, by its name, with ``+ edits`` where it was edited since.

    Methods whose file no git repository has, or where git is not installed, are missing.
    """
    found: dict[str, str] = {}
    for folder in places():
        changed: dict[str, str] = {}
        commit = ""
        for line in _git(folder, "log", "--format=commit %H", "--name-only", "--relative", "--", "."):
            if line.startswith("commit "):
                commit = line.removeprefix("commit ")
            elif line.endswith(".py"):
                changed.setdefault(line, commit)
        for file in _git(folder, "diff", "--name-only", "--relative", "HEAD", "--", "."):
            if file in changed:
                changed[file] += " + edits"
        found |= {Path(file).stem: commit for file, commit in changed.items() if "/" not in file}
    return found


def _git(folder: Path, *words: str) -> list[str]:
    """The lines that git prints; none where it fails."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()
