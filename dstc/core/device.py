"""Device, precision and threads: the only module that names cuda."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import cache
from pathlib import Path

import torch

from dstc.core import cores, processes
from dstc.core.errors import UserError

KNOWN = "auto (a GPU if there is one), cpu, cuda, cuda:1, ..."


def choose_device(name: str, asked_by: str = "runtime.device") -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU; anything else is a torch device that must exist.

    In one of several processes a GPU without a number is that of this process, which torchrun counts in LOCAL_RANK.
    """
    gpu = f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if gpu == "cuda":
            return torch.device(gpu)  # there is one, and who only starts others must not take room on it
    try:
        device = torch.device(gpu if name in ("auto", "cuda") else name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"known are {KNOWN}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"{asked_by}: '{name}' cannot be used here ({str(error).splitlines()[0]})") from None
    return device


def gpus(device: torch.device) -> int:
    """How many GPUs `device` may mean: all of this machine, a certain one, or none."""
    if device.type == "cpu":
        return 0
    return torch.cuda.device_count() if device.index is None else 1


def use(device: torch.device) -> None:
    """Make a GPU the one meant by whatever names none: each of several processes would else take room on the first."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def ready(name: str, threads: int, deterministic: str) -> torch.device:
    """The device of this name, the process set up to compute on it: `deterministic` is exact or fast."""
    set_up(threads)
    device = choose_device(name)
    if device.type == "cuda":  # what a CPU computes is exact without it
        choose_algorithms(deterministic)
    return device


def choose_algorithms(deterministic: str) -> None:
    """exact: those that give the same bits again, where torch has one; it warns where it has none. fast: those that cudnn
    finds to be fastest by trying each."""
    is_exact = deterministic == "exact"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = is_exact, not is_exact
    if is_exact:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, products may add up in another order
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(is_exact, warn_only=True)


def set_up(threads: int) -> None:
    """Bound the CPU threads (0: to the cores that this process may use) and have cudnn repeat itself."""
    # Torch knows of no quota. Where its own choice is not too many it is not told: MKL would then choose by other rules.
    if threads or cores.allowed() < torch.get_num_threads():
        torch.set_num_threads(threads or cores.allowed())
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def computing(device: torch.device, precision: str) -> dict[str, str]:
    """What of `runtime`, and of the machine, changes the bits of a result, by the parameter that chooses it."""
    chosen = {
        "runtime.device": f"{device.type} {_name(device)}",
        "runtime.processes": str(processes.count()),
        "model.precision": precision_used(device, precision),
    }
    if device.type == "cpu":
        return chosen | {"runtime.threads": str(torch.get_num_threads())}
    return chosen | {"runtime.deterministic": "exact" if torch.backends.cudnn.deterministic else "fast"}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"


def processor() -> str:
    """What the CPU calls itself."""
    return _cpu_info("model name") or platform.machine()


def _cpu_info(key: str) -> str:
    """What Linux says of the first core; empty where there is no such line, or no Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split("\t")[0] == key), "")


@cache
def computes_bf16(device: torch.device) -> bool:
    """Whether the device has arithmetic for bf16. Without it torch imitates it, on a CPU in many times fp32's time."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = f"{_cpu_info('flags')} {_cpu_info('Features')}"  # of x86; of Arm
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def precision_used(device: torch.device, precision: str) -> str:
    """fp32 or bf16; `auto` is bf16 where the device has arithmetic for it."""
    if precision == "auto":
        return "bf16" if computes_bf16(device) else "fp32"
    return precision


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context in which forward passes run: bf16 autocast, or nothing for fp32."""
    if precision_used(device, precision) == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def peak_gpu_bytes() -> int | None:
    """The most GPU memory that this process's tensors took, on the GPU that took most; None where it used no GPU."""
    if not torch.cuda.is_initialized():
        return None
    return max(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count()))


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what was asked of it, so that a clock reads true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: of the GPU, or of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_memory(device: torch.device) -> str:
    """Peak memory so far, in words."""
    return f"{peak_bytes(device) / 2**30:.2f} GiB of {'GPU memory' if device.type == 'cuda' else 'memory'}"
