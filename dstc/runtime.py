"""Device, precision and threads: the only module that names cuda."""

from __future__ import annotations

import contextlib
import os

import torch

from dstc.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU; anything else is a torch device that must exist.

    In one of several processes "cuda" means the GPU of this process, which torchrun counts in LOCAL_RANK.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("known are auto, cpu, cuda, cuda:0, cuda:1, ...")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"runtime.device: '{name}' cannot be used here ({str(error).splitlines()[0]})") from None
    return device


def gpus(device: torch.device) -> int:
    """How many GPUs `device` may mean: all of this machine, a certain one, or none."""
    if device.type == "cpu":
        return 0
    return torch.cuda.device_count() if device.index is None else 1


def set_up(threads: int) -> None:
    """Bound the CPU threads (0 leaves torch's choice) and ask for algorithms that repeat themselves."""
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context in which forward passes run: bf16 autocast, or nothing for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what was asked of it, so that a clock reads true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> str:
    """Peak memory so far, in words: of the GPU, or of this process on the CPU."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of GPU memory"
    import resource

    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of memory"
