"""Every command and all code in the documents runs, on few images for a moment, or is listed with a reason."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ltbench.models import pretrained
from tests import documented
from tests.cli.test_help import COMMANDS
from tests.conftest import Answer, records
from tests.documented import PAGES, Block, blocks, inline, small

CI = "done by .ci/run, with these words or more"
NIGHT = "takes minutes, in a checkout: tests/nightly/test_nightly.py"
GPUS = "needs GPUs: tests/runner/test_all_gpus.py"
SHARED = "needs a shared disk: tests/results/test_leases.py, tests/runner/test_eight_shards.py"
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/ltbench run": "tests/test_package.py installs",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest -n logical": CI,
    "python3 -m venv .venv": CI,
    ".venv/bin/pip install -e '.[dev]'": CI,
    ".venv/bin/pytest -n logical": CI,
    ".venv/bin/pytest -m slow": CI,
    ".venv/bin/pytest benchmarks -s": "measures speed for an hour",
    ".venv/bin/ruff check .": CI,
    ".venv/bin/ruff format .": CI,
    ".venv/bin/mypy": CI,
    ".venv/bin/mkdocs build --strict": CI,
    "pytest -m long -s tests/results/test_simulation.py": "ten minutes of simulation",
    "ltbench export --best -o model": "needs three seeds and validation images: tests/cli/test_export.py",
    "ltbench ui": "serves until Ctrl-C: tests/cli/test_mlflow.py",
    "MLFLOW_TRACKING_URI=http://HOST:5000 ltbench run": "needs a server: tests/tracking/test_tracking.py",
    "ltbench run --suite cifar100-lt --device all": GPUS,
    "ltbench run --suite cifar100-lt --device all --runs-per-device 4": GPUS,
    "ltbench run --suite cifar100-lt --results /shared/results --no-tracking": SHARED,
    "ltbench run --suite cifar100-lt --results /shared/results --no-tracking --shard 1/8": SHARED,
    "ltbench leaderboard --results /shared/results": SHARED,
    "ltbench sync --results /shared/results": SHARED,
    "ltbench slurm --shards 8 --time 12:00:00 --gpus 1 -o job.sh -- --suite cifar100-lt --results /shared/results "
    "--no-tracking": "needs CIFAR-100: tests/cli/test_slurm.py",
    "sbatch job.sh": "needs Slurm: tests/cli/test_slurm.py runs the script's tasks",
    "pip install 'ltbench[ray]'": CI,
    "ltbench run --suite cifar100-lt --executor ray --results /shared/results": "tests/runner/test_on_ray.py",
    "ltbench nightly": NIGHT,
    "ltbench nightly --history": NIGHT,
    "ltbench nightly --bless --because 'LDAM starts from the initialisation of its authors'": NIGHT,
    "ltbench nightly --bless --because 'the same' --no-speed --night nightly/2026-01-31-0a1b2c3d4e5f": NIGHT,
    "ltbench nightly --bless --because 'limits of this machine' --no-learning": NIGHT,
    "ltbench data check places-lt --data places-lt=list:Places_LT_train.txt,test=Places_LT_test.txt,"
    "val=Places_LT_val.txt,root=PLACES --image-size 256": "needs Places365: tests/data/test_large.py",
    "ltbench run --suite places-lt --data places-lt=list:Places_LT_train.txt,test=Places_LT_test.txt,"
    "val=Places_LT_val.txt,root=PLACES": "needs Places365: tests/data/test_large.py",
}
STATUS = {"ltbench data check places-lt": 2}
"""Exit status, where it is not 0: without the images, this command says how to get them."""
CODE_RUN_BY = {
    "README": "tests/test_package.py",
    "mlflow": "tests/tracking/test_tracking.py",
    "python": "tests/test_api.py",
    "adding-a-method": "tests/check/test_new_check.py",
}
"""Pages whose Python code another test runs."""

Cli = Callable[..., Answer]


def ours(command: str) -> bool:
    return re.match(r"(\.venv/bin/)?ltbench ", command) is not None


def test_every_command_is_run_or_is_listed_with_a_reason() -> None:
    found = {command for page in PAGES for one in blocks(page) if one.language == "sh" for command in one.commands}
    assert {command for command in found if not ours(command)} <= NOT_RUN.keys(), "list it, with a reason"
    assert NOT_RUN.keys() <= found, "remove what no page has"
    assert STATUS.keys() <= found


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "reliability"], ids=lambda page: page.stem)
def test_every_command_within_a_text_has_options_that_exist(page: Path) -> None:
    """Those of docs/reliability.md were run to write it, and are wrong on purpose."""
    for words in inline(page):
        named = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
        known = [command for command in COMMANDS if command[: len(named)] == named]
        assert known, words
        parameters = [parameter for command in known for parameter in COMMANDS[command].params]
        options = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options, words


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the images and weights that the pages name."""
    import huggingface_hub

    documented.images()
    stored = documented.weights()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, *_, **__: stored[repository])
    monkeypatch.setattr(pretrained, "_hub_file", pretrained._hub_file.__wrapped__)  # it keeps what it found


def run_shell(block: Block, ltbench: Cli) -> None:
    for command in block.commands:
        if command in NOT_RUN:
            continue
        trained = [cell for cell, record in records().items() if record.result] or [""]
        answer = ltbench(*(trained[0] if word == "ID" else word for word in small(command)))
        assert answer.status == STATUS.get(command, 0), f"{command}\n{answer.err}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_every_command_of_a_page_runs(page: Path, ltbench: Cli, place: None) -> None:
    assert ltbench(*small("ltbench run --methods ce")).status == 0  # some pages are about results
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page)):
        if block.language == "sh":
            run_shell(block, ltbench)
        if block.language == "python" and page.stem not in CODE_RUN_BY:
            exec(block.text, names)
        if block.language == "toml":
            Path(f"{number}.toml").write_text(block.text)
            data = [word for name in ("cifar10", "cifar100") for word in ("--data", f"{name}=imagefolder:FOLDER")]
            answer = ltbench("run", "--suite", f"{number}.toml", "--dry-run", *data)
            assert answer.status == 0, answer.err
