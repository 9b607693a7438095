"""The defaults on a GPU that follow from the rows of ``gpu_check``. Each rule is one function."""

from collections.abc import Sequence

from benchmarks.gpu_report import Row, of
from ltbench.runner.threads import next_runs

WORTH_COMPILING = 1.2  # times as fast as a captured step: compiling costs 20 to 30 s a run
WORTH_BF16 = 1.25  # times as fast as TF32, before the accuracy of both is compared over paired seeds
WORTH_CHANGING = 1.03
SAME_LOSSES = 1e-3  # largest relative difference of losses between tiers

BASE = {"precision": "fp32", "layout": "nhwc", "batch_norm": "cudnn", "deterministic": True}
"""The settings of today's engine, which each comparison changes in one respect."""


def ms(rows: Sequence[Row], tier: str, **changes: object) -> float | None:
    """Milliseconds of a step that ran in this tier, with the base settings and these changes."""
    found = of(rows, "steps", ran=tier, wanted=tier, **(BASE | changes))
    return float(found[-1]["ms_per_step"]) if found else None


def ratio(slow: float | None, fast: float | None) -> float | None:
    """How many times as fast; None where one is not measured."""
    return slow / fast if slow and fast else None


def _row(default: str, value: object, because: str) -> Row:
    return {"default": default, "value": value, "because": because}


def _times(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f} times as fast"


def tier(rows: Sequence[Row]) -> Row:
    """``compiled`` where compiling pays, else ``graph`` where it is faster and every method's losses agree."""
    graph = ratio(ms(rows, "eager"), ms(rows, "graph"))
    compiled = ratio(ms(rows, "graph"), ms(rows, "compiled"))
    differing = [
        row["method"]
        for row in of(rows, "methods")
        if row.get("error") or row["ran"] != row["wanted"] or row["loss_difference"] > SAME_LOSSES
    ]
    because = f"graph against eager: {_times(graph)}; compiled against graph: {_times(compiled)}"
    if not of(rows, "methods"):
        return _row("tier", "eager", f"{because}; methods not measured")
    if differing:
        return _row("tier", "eager", f"{because}; not captured, or other losses: {', '.join(differing)}")
    if graph is None or graph < WORTH_CHANGING:
        return _row("tier", "eager", because)
    return _row("tier", "compiled" if compiled and compiled >= WORTH_COMPILING else "graph", because)


def precision(rows: Sequence[Row]) -> Row:
    """``fp32`` until bf16 is fast enough and its accuracy is shown to be equal."""
    fast = ratio(ms(rows, "graph"), ms(rows, "graph", precision="bf16"))
    more = "; compare accuracies over paired seeds" if fast and fast >= WORTH_BF16 else ""
    return _row("precision", "fp32", f"bf16 against TF32, captured: {_times(fast)}{more}")


def layout(rows: Sequence[Row]) -> Row:
    """The faster layout of captured steps."""
    fast = ratio(ms(rows, "graph"), ms(rows, "graph", layout="nchw"))
    value = "nchw" if fast and fast >= WORTH_CHANGING else "nhwc"
    return _row("layout", value, f"NCHW against NHWC, captured: {_times(fast)}")


def batch_norm(rows: Sequence[Row]) -> Row:
    """The faster batch norm of captured steps, alone."""
    fast = ratio(ms(rows, "graph"), ms(rows, "graph", batch_norm="native"))
    value = "native" if fast and fast >= WORTH_CHANGING else "cudnn"
    return _row("batch norm", value, f"native against cuDNN, captured: {_times(fast)}")


def deterministic(rows: Sequence[Row]) -> Row:
    """Deterministic, whatever it costs: a cell repeats bit for bit."""
    fast = ratio(ms(rows, "graph"), ms(rows, "graph", deterministic=False))
    return _row("deterministic", True, f"without it: {_times(fast)}")


def runs_per_device(rows: Sequence[Row]) -> Row:
    """Runs at once: doubled as long as all of them together become faster, as ``--runs-per-device auto`` does."""
    speeds = {row["runs"]: float(row["steps_per_second"]) for row in of(rows, "together") if row["ran"] == ["graph"]}
    if 1 not in speeds:
        return _row("runs per device", 1, "not measured")
    runs = 1
    tried = {1: speeds[1]}
    while (following := next_runs(tried)) in speeds and following not in tried:
        tried[following] = speeds[following]
    runs = min(next_runs(tried), max(tried))
    return _row("runs per device", runs, f"{runs} runs: {speeds[runs] / speeds[1]:.2f} times the steps of one")


def defaults(rows: Sequence[Row]) -> list[Row]:
    """Every default, with what it follows from."""
    return [rule(rows) for rule in (tier, precision, layout, batch_norm, deterministic, runs_per_device)]
