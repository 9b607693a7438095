"""How cost grows, and where a training step's time goes, on the CPU in under three minutes, as Markdown.

    python -m benchmarks.growth

Every row doubles one thing and keeps the rest; each run is a process of its own with one thread, so that its memory is
its own. Only the ratios mean anything: the network is the smallest, the images are 16 x 16 noise.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_report import table
from benchmarks.in_turn import CPU
from benchmarks.steps import Steps, noise
from ltbench.data import ImageSet, Imbalance, Split, cut
from ltbench.engine.process import prepare
from ltbench.method.contract import Method
from ltbench.method.registry import discover
from ltbench.plan.recipe import RECIPES
from ltbench.results.record import Record
from ltbench.results.store import Store
from ltbench.runner.environment import environment
from ltbench.runner.one_cell import run_cell

DOUBLED = ("images", "classes", "seeds", "methods", "ratios")
RECIPE = RECIPES["ldam"].changed({"backbone": "resnet8_cifar", "epochs": 2})


@dataclass(frozen=True)
class Size:
    """What is trained: every method on every ratio with every seed."""

    images: int = 1500
    classes: int = 20
    seeds: int = 1
    methods: int = 1
    ratios: int = 1


@dataclass(frozen=True)
class Cost:
    """Of one suite in one process, imports not counted."""

    seconds: float
    images: int
    peak_bytes: int
    store_bytes: int


def suite(size: Size) -> Cost:
    """Trains it from data to records in an empty store."""
    from ltbench.plan.cell import Cell, Link

    prepare()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    a_class = size.images // size.classes

    def split(n: int) -> Split:
        pixels = generator.integers(256, size=(n * size.classes, 16, 16, 3), dtype=np.uint8)
        return Split(pixels, np.repeat(np.arange(size.classes), n))

    test = split(400 // size.classes)
    pictures = ImageSet("noise", tuple(map(str, range(size.classes))), split(a_class), None)
    entry = discover()["ce"]
    with tempfile.TemporaryDirectory() as folder:
        store, images, started = Store(folder), 0, time.perf_counter()
        for ratio in range(size.ratios):
            data = cut(pictures, Imbalance("natural"), subset_seed=ratio)
            for seed in range(size.seeds):
                for number in range(size.methods):
                    link = Link(f"method{number}", entry.source, {})
                    about = ("noise", "noise", pictures.fingerprint, Imbalance("natural"), ratio, 0, (link,))
                    cell = Cell(*about, {}, RECIPE, seed)
                    result = run_cell(
                        cell,
                        [Method()],
                        data,
                        lambda: test,
                        store,
                        device=CPU,
                        checkpoint_every_s=1e9,
                        on_epoch=lambda *_: None,
                    )
                    store.add(Record.of(cell, suite="noise", command="", result=result))
                    images += result.cost.images
        seconds = time.perf_counter() - started
        stored = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(seconds, images, peak, stored)


def growth() -> list[dict[str, Any]]:
    """Each thing doubled once and twice, against the same suite undoubled."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.steps", "torch.profiler"])  # torch is imported once for all

    def measured(size: Size) -> Cost:
        with context.Pool(1) as pool:
            pool.apply(suite, (replace(size, images=size.classes * 8),))  # the first steps of a process are slow
            return pool.apply(suite, (size,))

    sizes = [("nothing", 1, Size())]
    sizes += [(n, times, replace(Size(), **{n: times * getattr(Size(), n)})) for n in DOUBLED for times in (2, 4)]
    costs = [measured(size) for _, _, size in sizes]
    start = costs[0]
    again = measured(Size())  # at the end: how far apart the two are tells how quiet the machine was
    rows: list[dict[str, Any]] = []
    for (name, times, _), cost in zip([*sizes, ("nothing, again", 1, Size())], [*costs, again], strict=True):
        row: dict[str, Any] = {"doubled": name, "times": times, "seconds": cost.seconds, "images trained": cost.images}
        row["time"] = cost.seconds / start.seconds
        row["time an image"] = (cost.seconds / cost.images) / (start.seconds / start.images)
        rows.append(row | {"peak MiB": cost.peak_bytes // 2**20, "store": cost.store_bytes / start.store_bytes})
    return rows


KINDS = {
    "convolution": ("convolution", "conv2d"),
    "batch norm": ("batch_norm",),
    "matrix product": ("mm", "addmm", "linear"),
    "ReLU and additions": ("relu", "threshold", "add", "mul"),
    "optimiser": ("_fused_sgd_", "Optimizer"),
    "data: index, cast, copy": ("index", "copy_", "to", "sub_", "contiguous"),
}


def kind_of(operator: str) -> str:
    """The row of the table that an operator's time belongs to."""
    name = operator.removeprefix("aten::").removeprefix("mkldnn_").removeprefix("native_")
    return next((kind for kind, parts in KINDS.items() if any(name.startswith(part) for part in parts)), "other")


def profiled() -> tuple[list[dict[str, Any]], float]:
    """Shares of a ResNet-32 step by kind of operator, and the seconds of a step, unprofiled."""
    steps = Steps(Method(), noise(100, 2), RECIPES["ldam"], CPU, count=1)
    steps.seconds()
    seconds = statistics.median(steps.seconds() for _ in range(5))
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(3):
            steps.losses()
    spent: dict[str, float] = {}
    for event in found.key_averages():
        kind = kind_of(event.key)
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(spent.values())
    order = sorted(spent, key=lambda kind: -spent[kind])
    return [
        {"kind of operator": kind, "share of a step": f"{100 * spent[kind] / total:.1f} %"} for kind in order
    ], seconds


def convolution_floor(batch: int) -> tuple[float, float]:
    """Seconds that the convolutions of a ResNet-32 step need by themselves, and their GFLOP (2 a multiply-add).

    Nearly all are 3x3 of 16, 32 and 64 channels on 32, 16 and 8 pixels, of equal FLOP; ten of each kind are counted.
    """
    seconds = flop = 0.0
    for channels, side in ((16, 32), (32, 16), (64, 8)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
        images = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
        given = torch.ones(batch, channels, side, side).to(memory_format=torch.channels_last)

        def once(layer: torch.nn.Conv2d = layer, images: torch.Tensor = images, given: torch.Tensor = given) -> float:
            started = time.perf_counter()
            layer(images).backward(given)
            return time.perf_counter() - started

        once()
        seconds += 10 * statistics.median(once() for _ in range(7))
        flop += 10 * 3 * 2 * 9 * channels * channels * side * side * batch
    return seconds, flop / 1e9


def matmul_rate(size: int = 1024) -> float:
    """GFLOP/s of a square fp32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)

    def once() -> float:
        started = time.perf_counter()
        a @ b
        return time.perf_counter() - started

    once()
    return 2 * size**3 / statistics.median(once() for _ in range(7)) / 1e9


def main() -> None:
    """Print both tables."""
    prepare()
    where = environment(CPU)
    print(f"{where.device_name}, {where.threads} threads, torch {where.torch}, ltbench {where.revision}\n")
    print("\n".join(table(growth())), end="\n\n")
    shares, step = profiled()
    print("\n".join(table(shares)), end="\n\n")
    floor, gflop = convolution_floor(RECIPES["ldam"].batch_size)
    rows: list[dict[str, Any]] = [
        {"what": "training step of ResNet-32, batch 128, fp32", "ms": 1000 * step, "GFLOP/s": gflop / step},
        {"what": "its convolutions by themselves (the floor)", "ms": 1000 * floor, "GFLOP/s": gflop / floor},
        {"what": "matrix product 1024 x 1024", "ms": None, "GFLOP/s": matmul_rate()},
        {"what": "step over floor", "ms": step / floor, "GFLOP/s": None},
    ]
    print("\n".join(table(rows)), flush=True)


if __name__ == "__main__":
    main()
