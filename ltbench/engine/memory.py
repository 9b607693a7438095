"""How large a batch would have fitted, where a stage has run out of the memory of its GPU."""

import torch
from torch import Tensor

from ltbench.engine.process import numerics
from ltbench.engine.stage import RunningStage
from ltbench.engine.step import Eager
from ltbench.randomness import seeded


class OutOfMemory(torch.OutOfMemoryError):
    """A stage needs more memory than its GPU has.

    Args:
        running: the stage; it cannot go on.
    """

    def __init__(self, running: RunningStage) -> None:
        super().__init__(f"out of GPU memory in stage '{running.stage.name}'")
        self.running = running


def largest_batch(running: RunningStage) -> int | None:
    """The largest batch that a stage could have been trained with, by the memory of steps with two smaller ones.

    The memory of a step grows by the same amount with each image.

    Returns:
        None where the two do not fit either, where the stage is not on a GPU, and where the batch that was too large
        should have fitted: then something else used the memory.
    """
    size, device = running.task.recipe.batch_size, running.task.device
    small, large = size // 8, size // 4
    if device.type != "cuda" or small < 1:
        return None
    torch.cuda.empty_cache()
    room = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
    try:
        plan = running.begin(min(running.state["epoch"], running.epochs - 1))
        low, high = (_peak_bytes(running, plan, images) for images in (small, large))
    except Exception:  # of CUDA, or of a method that cannot be trained with so small a batch
        return None
    an_image = (high - low) / (large - small)
    found = int((room - low) / an_image + small) if an_image > 0 else size
    return found if large <= found < size else None


def _peak_bytes(running: RunningStage, plan: Tensor, images: int) -> int:
    """The largest memory in use during two steps; the first one makes the state of the optimiser."""
    device, columns = plan.device, plan[..., : 2 * images]
    running.training.begin(columns.cpu(), images)
    torch.cuda.reset_peak_memory_stats(device)
    with numerics(strict=running.task.recipe.precision == "fp32-strict"), seeded(0):
        Eager(running.step, images)(columns)
    return torch.cuda.max_memory_allocated(device)
