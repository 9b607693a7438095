"""The sections of ``gpu_check``: each measures one thing on a GPU and yields rows."""

import contextlib
import functools
import gc
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from benchmarks.gpu_defaults import BASE, ms
from benchmarks.gpu_report import Row
from benchmarks.steps import Kernels, Steps, noise, side_by_side
from ltbench.data import ImageSet, Imbalance, LongTailed, Split, cut, load
from ltbench.engine.evaluate import evaluate
from ltbench.engine.networks import network
from ltbench.engine.stage import RunningStage
from ltbench.engine.task import Task, Tier
from ltbench.engine.train import train_stage
from ltbench.errors import InputError
from ltbench.method.contract import Batch, Clock, Method
from ltbench.method.registry import discover
from ltbench.models.network import Network
from ltbench.plan.recipe import RECIPES, Recipe
from ltbench.runner.checkpoint import StageFile
from ltbench.runner.environment import environment

FILE_SECONDS = 60.0
"""Time limit of the tests of one file."""
TIERS: tuple[Tier, ...] = ("eager", "graph", "compiled")


@dataclass(frozen=True, eq=False)
class Setting:
    """What all sections share.

    Attributes:
        device: the GPU.
        real: whether it is one, and not pretended.
        tiny: measure with a small network, few images and few steps, to test the code.
        images: image folder in place of generated images.
        found: the rows of the sections before.
    """

    device: torch.device
    real: bool
    tiny: bool
    images: str | None
    found: Sequence[Row]

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe that is measured."""
        small = {"backbone": "resnet8_cifar", "epochs": 2, "evaluate_every": 1, "batch_size": 8}
        return RECIPES["ldam"].changed(small if self.tiny else {})

    @functools.cached_property
    def data(self) -> LongTailed:
        """10,847 training and 10,000 test images of 100 classes; in the tiny form 10 classes."""
        if self.images is not None:
            return cut(load(f"imagefolder:{self.images}", 32), Imbalance("exp", 100))
        if self.tiny:
            return noise(10, 4)
        generator = np.random.default_rng(0)

        def split(a_class: int) -> Split:
            pixels = generator.integers(256, size=(100 * a_class, 32, 32, 3), dtype=np.uint8)
            return Split(pixels, np.repeat(np.arange(100), a_class))

        return cut(ImageSet("noise", tuple(map(str, range(100))), split(500), split(100)), Imbalance("exp", 100))

    @property
    def count(self) -> int:
        """Full batches in an epoch."""
        return 2 if self.tiny else len(self.data.train) // self.recipe.batch_size

    def steps(self, tier: Tier, precision: str = "fp32", method: Method | None = None, **options: Any) -> Steps:
        """Steps of plain training, or of another method."""
        recipe = self.recipe.changed({"precision": precision})
        options.setdefault("count", self.count)
        return Steps(method or Method(), self.data, recipe, self.device, tier, **options)

    @property
    def best_tier(self) -> Tier:
        """The fastest tier of the steps measured before."""
        times = {tier: value for tier in TIERS if (value := ms(self.found, tier))}
        return min(times, key=times.__getitem__) if times else "graph"


class Reading(Method):
    """A method that cannot be captured: it reads its loss on the host."""

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Cross-entropy, read."""
        loss = super().loss(net, batch, clock)
        return loss + 0 * loss.item()


def smoke(setting: Setting) -> Iterator[Row]:
    """The environment; whether a step is captured; whether one is after a capture has failed; two ceilings."""
    device = setting.device
    yield vars(environment(device)) | {"images": setting.images or "generated"}
    for what, method, wanted in (
        ("a step is captured", Method(), "graph"),
        ("a step that reads a value is not", Reading(), "eager"),
        ("a step is captured after a failed capture", Method(), "graph"),
    ):
        steps = setting.steps("graph", method=method, count=1)
        steps.losses()
        yield {"what": what, "wanted": wanted, "ran": steps.tier, "reason": steps.reason}
    side = 256 if setting.tiny else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in "ab")
    source = torch.empty((1 << 16) if setting.tiny else (1 << 30), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), device)
    yield {"what": "copy on the device", "unit": "GB/s", "value": 2 * len(source) / seconds / 1e9}
    seconds = timed(lambda: a @ b, device)
    yield {"what": "bf16 matrix product", "unit": "TFLOP/s", "value": 2 * side**3 / seconds / 1e12}


def timed(work: Callable[[], Any], device: torch.device, times: int = 10) -> float:
    """Seconds of this work, the mean of several calls after one."""
    work()
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / times


KINDS = {
    "optimiser": ("sgd", "multi_tensor"),
    "batch norm": ("batch_norm", "bn_", "batchnorm"),
    "convolution": ("conv", "wgrad", "dgrad", "fprop", "xmma", "cutlass", "implicit"),
    "matrix product": ("gemm", "addmm", "aten::mm", "aten::t"),
    "ReLU": ("relu", "threshold", "clamp_min"),
    "data and copies": ("index", "copy", "memcpy", "memset", "gather", "to_copy"),
    "reduction": ("reduce", "softmax", "nll_loss", "sum", "mean"),
    "pointwise": ("elementwise", "vectorized", "add", "mul", "sub"),
}


def kind_of(name: str) -> str:
    """The kind of a kernel, or of an operation, by its name."""
    return next((kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts)), "other")


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, by kind."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count; a view moves nothing."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.__name__:
            moved = [v for v in tree_flatten((args, kwargs, out))[0] if isinstance(v, Tensor)]
            kind = kind_of(f"aten::{func.__name__}")
            self.bytes[kind] = self.bytes.get(kind, 0) + sum(v.numel() * v.element_size() for v in moved)
        return out


def kernels(setting: Setting) -> Iterator[Row]:
    """A captured step by kind of kernel: number, microseconds, MB that its operations move, achieved GB/s."""
    for precision in ("fp32", "bf16"):
        steps = setting.steps("graph", precision, count=2 if setting.tiny else 20)
        steps.losses()
        wanted = ProfilerActivity.CUDA if setting.real else ProfilerActivity.CPU
        with profile(activities=[wanted]) as found:
            steps.losses()
        counts: dict[str, int] = {}
        spent: dict[str, float] = {}
        for event in found.key_averages():
            kind = kind_of(event.key)
            time_us = event.self_device_time_total if setting.real else event.self_cpu_time_total
            counts[kind] = counts.get(kind, 0) + event.count
            spent[kind] = spent.get(kind, 0.0) + time_us / steps.count
        eager = setting.steps("eager", precision, count=1)
        eager.losses()
        with Traffic() as traffic:
            eager.losses()
        for kind in sorted(spent, key=lambda kind: -spent[kind]):
            megabytes = traffic.bytes.get(kind, 0) / 1e6
            yield {
                "precision": precision,
                "wanted": "graph",
                "ran": steps.tier,
                "reason": steps.reason,
                "kind": kind,
                "kernels_per_step": counts[kind] / steps.count,
                "us_per_step": spent[kind],
                "mb_per_step": megabytes,
                "gb_per_s": 1000 * megabytes / spent[kind] if spent[kind] else None,
            }


def step_times(setting: Setting) -> Iterator[Row]:
    """Milliseconds per step, medians of three epochs after one, and seconds of the capture."""
    plain: list[tuple[Tier, str, Kernels]] = [("eager", p, Kernels()) for p in ("fp32", "fp32-strict", "bf16")]
    plain += [("graph", p, Kernels(layout=x)) for p in ("fp32", "fp32-strict", "bf16") for x in ("nhwc", "nchw")]
    for precision in ("fp32", "bf16"):
        plain += [("graph", precision, Kernels(batch_norm="native"))]
        plain += [("graph", precision, Kernels(deterministic=False))]
        plain += [("graph", precision, Kernels(batch_norm="native", deterministic=False))]
    plain += [("compiled", precision, Kernels()) for precision in ("fp32", "bf16")]
    for tier, precision, chosen in plain:
        row = BASE | {"precision": precision, **vars(chosen), "wanted": tier}
        steps = setting.steps(tier, precision, kernels=chosen)
        steps.seconds()
        value = 1000 * statistics.median(steps.seconds() for _ in range(1 if setting.tiny else 3))
        times = {"ms_per_step": value, "capture_seconds": steps.capture_seconds}
        yield row | {"ran": steps.tier, "reason": steps.reason} | times


def together(setting: Setting) -> Iterator[Row]:
    """Steps a second of R runs together, each on its own stream, and how far their losses are from those alone (for
    the first four runs)."""
    epochs, ran, reasons = 1 if setting.tiny else 4, set[str](), set[str]()

    def make(seed: int) -> Steps:
        steps = setting.steps("graph", seed=seed)
        ran.add(steps.tier)
        reasons.add(steps.reason)
        return steps

    alone: dict[int, list[float]] = {}
    for runs in (1, 2) if setting.tiny else (1, 2, 4, 8, 16):
        speed, losses = side_by_side([functools.partial(make, seed) for seed in range(runs)], epochs, setting.device)
        far = 0.0
        for seed, curve in enumerate(losses[:4]):
            if seed not in alone:
                (alone[seed],) = side_by_side([functools.partial(make, seed)], epochs, setting.device)[1]
            far = max(far, *(abs(a - b) / abs(a) for a, b in zip(alone[seed], curve, strict=True)))
        found = {"runs": runs, "wanted": ["graph"], "ran": sorted(ran), "reason": "; ".join(sorted(reasons - {""}))}
        yield found | {"steps_per_second": speed, "loss_difference": far}


def evaluation(setting: Setting) -> Iterator[Row]:
    """Seconds of one evaluation of the test set, the median of three after two."""
    task = Task.of(setting.data, setting.recipe, 0, setting.device)
    running = RunningStage(Method(), Method().stages()[0], 0, task)
    totals = []
    for _ in range(5):
        evaluate(running)
        totals.append(running.state["evaluation_seconds"])
    yield {"seconds": statistics.median(np.diff(totals[1:]).tolist())}


class Nowhere(StageFile):
    """A checkpoint that is never written."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(Path("does-not-exist"), device, float("inf"))


def long_run(setting: Setting) -> Iterator[Row]:
    """The whole recipe once: wall seconds, peak memory beyond what was there before, final test accuracy."""
    gc.collect()
    torch.cuda.reset_peak_memory_stats(setting.device)
    before, started, wanted = torch.cuda.memory_allocated(setting.device), time.perf_counter(), setting.best_tier
    task = Task.of(setting.data, setting.recipe, 0, setting.device, tier=wanted)
    state = train_stage(RunningStage(Method(), Method().stages()[0], 0, task), Nowhere(setting.device))
    yield {
        "epochs": setting.recipe.epochs,
        "wanted": wanted,
        "ran": state["tier"],
        "reason": state["tier_reason"],
        "seconds": time.perf_counter() - started,
        "evaluations": len(state["evaluations"]),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(setting.device) - before,
        "accuracy": state["evaluations"][-1]["test"]["accuracy"],
    }


def methods(setting: Setting) -> Iterator[Row]:
    """For every method milliseconds per step eager and captured, and how far the losses of that epoch lie apart."""
    for name, entry in discover().items():
        if setting.tiny and name not in ("ce", "bbn", "mixup", "tau_norm"):
            continue
        method = entry.method()
        row: Row = {"method": name, "wanted": "eager" if method.eager_only else "graph"}
        try:
            runs = [setting.steps(tier, "fp32-strict", method, count=2 if setting.tiny else 20) for tier in TIERS[:2]]
            eager, graph = (steps.losses() for steps in runs)
            far = max(abs(a - b) / abs(a) for a, b in zip(eager, graph, strict=True))
            times = {f"{tier}_ms": 1000 * steps.seconds() for tier, steps in zip(TIERS[:2], runs, strict=True)}
            row |= {"ran": runs[1].tier, "reason": runs[1].reason, "loss_difference": far, **times}
        except InputError:  # it needs another backbone
            continue
        except Exception as error:  # of one method; the others are measured all the same
            row |= {"ran": "nothing", "error": f"{type(error).__name__}: {error}"}
        yield row


def plain_loop(setting: Setting) -> Iterator[Row]:
    """Seconds of an epoch of the loop that everyone writes, the denominator, and of its loader alone."""
    from benchmarks.plain_loop import PlainLoop  # needs torchvision

    net = network(Method(), Task.of(setting.data, setting.recipe, 0, setting.device), 0).to(setting.device)
    split, workers = setting.data.train, 0 if setting.tiny else 4
    loop = PlainLoop(net, split.images, split.labels, setting.recipe, workers, setting.device)
    loop.epoch()
    started = time.perf_counter()
    loop.epoch()
    epoch = time.perf_counter() - started
    started = time.perf_counter()
    list(loop.loader)
    yield {"epoch_seconds": epoch, "loader_seconds": time.perf_counter() - started}


def gpu_tests(setting: Setting) -> Iterator[Row]:
    """The tests that need a GPU, file by file, so that a missing package or a hang costs one file only."""
    root = Path(__file__).parent.parent
    marked = [f for f in (root / "tests").rglob("test_*.py") if re.search(r"gpu: Device|mark\.gpu", f.read_text())]
    if setting.tiny:
        marked = [file for file in marked if file.name == "test_on_gpu.py"]
    for file in sorted(marked, key=lambda file: (file.name == "test_checks.py", file)):  # by far the longest
        choice = ["-m", "gpu"] if setting.real else ["-k", "pretended and repeats"]
        command = [sys.executable, "-m", "pytest", str(file.relative_to(root)), *choice, "-rf", "--no-header"]
        started, status = time.perf_counter(), "stopped"
        with tempfile.TemporaryFile("w+") as output:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(command, cwd=root, stdout=output, stderr=subprocess.STDOUT, timeout=FILE_SECONDS)
                status = f"exit status {done.returncode}"
            output.seek(0)
            said = output.read().strip().splitlines() or ["no output"]
        failed = [line for line in said if line.startswith(("FAILED", "ERROR"))][:5]
        row = {"file": file.name, "status": status, "seconds": time.perf_counter() - started, "end": said[-1]}
        wrong = status not in ("exit status 0", "exit status 5")  # 5: the file has no such test
        yield row | ({"error": f"{file.name}: {status}: {'; '.join(failed) or said[-1]}"} if wrong else {})


@contextlib.contextmanager
def on(device: str) -> Iterator[tuple[torch.device, bool]]:
    """The device with this name, and whether it is real; ``pretended`` works everywhere."""
    if device == "pretended":
        from ltbench.check.pretended import CUDA, pretended

        torch.set_num_threads(1)
        with pretended():
            yield CUDA, False
    else:
        yield torch.device(device), True


MEASURES: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "smoke": smoke,
    "kernels": kernels,
    "steps": step_times,
    "together": together,
    "evaluation": evaluation,
    "long_run": long_run,
    "methods": methods,
    "gpu_tests": gpu_tests,
    "plain_loop": plain_loop,
}
