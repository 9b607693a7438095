"""A pretended CUDA device: real values in CPU memory, the rules of CUDA, and a log of every wait.

``with pretended() as gpu:`` makes ``torch.device("cuda", 0)`` usable on any machine. Inside:

- an operation on tensors of the device and of the CPU raises, as on CUDA;
- every read by the host, copy between host and device, and synchronisation is logged in ``gpu.waits``, with its line;
- a CUDA graph records the operations of a capture, and a replay repeats them on the same memory. Everything that waits
  raises during a capture. After a failed capture, the next one fails too, as in torch 2.11, until the pool is ended;
- ``torch.compile`` returns the function unchanged, and ``gpu.compiled`` counts its calls.

The CPU's kernels compute the values, so a captured step must equal the CPU's eager step bit for bit. Not simulated:
speed, work that runs while the host goes on, the order of streams, limited memory, and memory that a graph uses again.
"""

from ltbench.check.pretended.cuda import pretended
from ltbench.check.pretended.device import CUDA, CaptureFailed, Device, Wait

__all__ = ["CUDA", "CaptureFailed", "Device", "Wait", "pretended"]
