"""The pretended GPU: CUDA's values, rules and graphs on any machine."""

import copy
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.check.pretended import CUDA, CaptureFailed, Device, pretended


@pytest.fixture
def gpu() -> Iterator[Device]:
    with pretended() as device:
        yield device


def captured(work: Callable[[], Any]) -> Any:
    """A graph of this work."""
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    with torch.cuda.graph(graph, pool, torch.cuda.Stream(CUDA)):
        work()
    return graph


def test_it_is_there_inside_only() -> None:
    there = torch.cuda.is_available()
    with pretended():
        assert torch.cuda.is_available()
        assert torch.ones(2, device="cuda").device == torch.ones(2).cuda().device == CUDA
    assert torch.cuda.is_available() == there
    assert not torch.ones(2).is_cuda


def test_a_network_has_the_values_and_gradients_of_the_cpu(gpu: Device) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 5
    other = copy.deepcopy(net).to(CUDA)
    F.cross_entropy(net(images), labels).backward()
    F.cross_entropy(other(images.to(CUDA)), labels.to(CUDA)).backward()
    for mine, pretending in zip(net.parameters(), other.parameters(), strict=True):
        assert mine.grad is not None and pretending.grad is not None
        assert pretending.grad.device == CUDA
        assert torch.equal(mine.grad, pretending.grad.cpu())


def test_tensors_of_two_devices_do_not_mix_except_scalars(gpu: Device) -> None:
    x = torch.ones(3, device=CUDA)
    assert (x * torch.tensor(2.0)).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device=CUDA, out=None).copy_(x).index_select(0, torch.tensor([0]))


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda x: x.sum().item(), "read"),
        (lambda x: float(x.sum()), "read"),
        (lambda x: bool(x.sum() > 0), "read"),
        (lambda x: x.tolist(), "read"),
        (lambda x: torch.equal(x, x), "read"),
        (lambda x: str(x), "read"),
        (lambda x: x.cpu(), "copy to the host"),
        (lambda x: x.to("cpu"), "copy to the host"),
        (lambda x: torch.zeros(3).copy_(x), "copy to the host"),
        (lambda x: x.copy_(torch.zeros(3)), "copy to the device"),
        (lambda x: torch.tensor([1.0], device=CUDA), "copy to the device"),
        (lambda x: x[torch.tensor([0])], "copy to the device"),
        (lambda x: x[x > 0], "size by values"),
        (lambda x: x.nonzero(), "size by values"),
        (lambda x: torch.where(x), "size by values"),
        (lambda x: F.one_hot(x.long()), "read"),
        (lambda x: torch.cuda.synchronize(), "synchronisation"),
        (lambda x: torch.cuda.current_stream(CUDA).synchronize(), "synchronisation"),
        (lambda x: torch.cuda.Event().synchronize(), "synchronisation"),
    ],
)
def test_what_waits_is_logged_with_its_line(gpu: Device, work: Callable[[Tensor], Any], kind: str) -> None:
    x = torch.ones(3, device=CUDA)
    gpu.waits.clear()
    work(x)
    assert kind in {wait.kind for wait in gpu.waits}
    line = work.__code__.co_firstlineno
    assert {wait.line(Path(__file__)) for wait in gpu.waits} == {line}
    with pytest.raises(CaptureFailed, match="not permitted when stream is capturing"):
        try:
            captured(lambda: work(x))
        except RuntimeError as error:
            raise error.__context__ or error from None


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.to(CUDA),
        lambda x: F.one_hot(x.long(), 4),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x.repeat_interleave(2),
        lambda x: torch.zeros_like(x) + torch.arange(3, device=CUDA),
        lambda x: x.sort().values.cumsum(0),
        lambda x: x.half().float(),
    ],
)
def test_what_waits_for_nothing_is_not_logged(gpu: Device, work: Callable[[Tensor], Any]) -> None:
    x = torch.ones(3, device=CUDA)
    gpu.waits.clear()
    work(x)
    captured(lambda: work(x))
    assert gpu.waits == []


def test_a_replay_repeats_the_operations_on_the_same_memory(gpu: Device) -> None:
    x, total = torch.zeros(2, device=CUDA), torch.zeros((), device=CUDA)

    def work() -> None:
        total.add_((x + torch.ones(2, device=CUDA)).view(2, 1).mul_(2).sum())

    graph = captured(work)
    total.zero_()
    graph.replay()
    assert total.tolist() == 4.0
    x.fill_(10.0)
    graph.replay()
    assert total.tolist() == 4.0 + 44.0


def test_a_capture_takes_numbers_and_scalars_of_the_host_by_value(gpu: Device) -> None:
    x, number, scalar = torch.zeros(1, device=CUDA), [1.0], torch.tensor(10.0)
    graph = captured(lambda: x.add_(number[0]).add_(scalar))
    x.zero_()
    number[0] = 100.0
    scalar.fill_(1000.0)
    graph.replay()
    assert x.tolist() == [11.0]


def test_random_numbers_differ_between_replays(gpu: Device) -> None:
    x = torch.zeros(4, device=CUDA)
    graph = captured(lambda: x.copy_(torch.rand(4, device=CUDA)))
    graph.replay()
    first = x.tolist()
    graph.replay()
    assert x.tolist() != first


def test_after_a_failed_capture_every_capture_fails_until_the_pool_is_ended(gpu: Device) -> None:
    x, pool = torch.zeros(1, device=CUDA), torch.cuda.graph_pool_handle()
    failing = torch.cuda.graph(torch.cuda.CUDAGraph(), pool, torch.cuda.Stream(CUDA))
    with pytest.raises(RuntimeError, match="previous error during capture"), failing:
        x.item()
    with pytest.raises(RuntimeError, match="already recording"):
        captured(lambda: x.add_(1))
    torch._C._cuda_endAllocateToPool(0, pool)
    captured(lambda: x.add_(1)).replay()


def test_a_saved_tensor_is_loaded_to_the_device_that_is_asked_for(gpu: Device) -> None:
    saved = io.BytesIO()
    torch.save({"gpu": torch.ones(2, device=CUDA), "cpu": [torch.zeros(2)]}, saved)

    def places(**options: Any) -> list[str]:
        saved.seek(0)
        loaded = torch.load(saved, weights_only=True, **options)
        return [loaded["gpu"].device.type, loaded["cpu"][0].device.type]

    assert places() == ["cuda", "cpu"]
    assert places(map_location="cpu") == ["cpu", "cpu"]
    assert places(map_location=CUDA) == ["cuda", "cuda"]


def test_other_threads_have_the_device_and_capture_on_their_own(gpu: Device) -> None:
    found: list[Any] = []
    x = torch.zeros(1, device=CUDA)

    def work() -> None:
        found.append((torch.ones(1, device=CUDA) + x).item())  # reads while the other thread captures

    def capture() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    captured(capture)
    assert found == [1.0]


def test_the_current_device_is_not_taken_for_the_one_in_use(gpu: Device) -> None:
    for call in (torch.cuda.Stream, torch.cuda.current_stream, torch.cuda.default_stream):
        with pytest.raises(RuntimeError, match="name the device"):
            call()
