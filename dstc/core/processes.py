"""The processes of one run (torch.distributed): which of them this is, and what they do together. One needs none of it.

Gradients are added up once a step, by an all-reduce after the last of a learner's backward passes, and not by
DistributedDataParallel: that must know before a forward pass whether it is the last one (`no_sync` otherwise), while losses
come one by one, as each graph is to be gone before the next; and it averages, while a loss here is its part of the whole
batch's. The five and more backward passes of a step leave it one to overlap its communication with.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dstc.core.errors import UserError

Made = TypeVar("Made")

# What waits for another run to end (its lock) or for a long download of a state must not give up.
PATIENCE = timedelta(days=30)
HEAD_START = 10.0  # seconds: torchrun ends the others within a tenth of one, on a machine that has time for it


def count() -> int:
    """How many processes there are. In a program of somebody else's that has joined processes of its own, each of them is a
    single one here: its batches are its own."""
    return 1 if _Control.group is None else dist.get_world_size()


def rank() -> int:
    """Which of them this is, from 0."""
    return 0 if _Control.group is None else dist.get_rank()


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return rank() == 0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun started; only the first one's prints are shown.

    An error here that may only follow from another process's end, or that the others have as well, waits until the
    first one has been shown: torchrun then ends this process.
    """
    if device.type == "cpu":
        dist.init_process_group("gloo")
    else:
        dist.init_process_group("nccl", device_id=device)
    _Control.group = dist.new_group(backend="gloo", timeout=PATIENCE)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if is_first() else nowhere):
        try:
            yield
        except Exception as error:
            if isinstance(error, OtherProcessError):
                time.sleep(6 * HEAD_START)  # it has nothing to say but where nobody else does
            elif not is_first() or isinstance(error, RuntimeError):  # which torch raises where a connection breaks
                time.sleep(HEAD_START)
            raise
    _Control.group = None
    dist.destroy_process_group()


class _Control:
    """The group for what the processes agree on, which is on the CPU and patient."""

    group: Any = None


def wait() -> None:
    """Wait until all processes have come here."""
    if count() > 1:
        dist.barrier(_Control.group)


def first_here(work: Callable[[], object]) -> None:
    """Have the first process of each machine do something, while the others wait until it is done."""
    with failing_together():
        if count() == 1 or os.environ.get("LOCAL_RANK", "0") == "0":
            work()


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if count() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX, _Control.group)
    return bool(flags)


class OtherProcessError(UserError):
    """Another process of the run has an error, and will say which."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has failed; what it printed, perhaps on another machine, says why"
        )


@contextmanager
def failing_together() -> Iterator[None]:
    """Around work of each process on its own: an error in one is an error in all, who would wait for it afterwards."""
    problem = None
    try:
        yield
    except Exception as error:
        problem = error
    if any_of(problem is not None):
        raise problem or OtherProcessError()


def from_first(make: Callable[[], Made]) -> Made:
    """What the first process makes, in all of them; the others need not see its files."""
    if count() == 1:
        return make()
    made = [make() if is_first() else None]
    dist.broadcast_object_list(made, src=0, group=_Control.group)
    return made[0]  # type: ignore[return-value]


def gather(share: Tensor) -> Tensor:
    """The equal shares (N, ...) of all processes, one after another: (N * processes, ...)."""
    if count() == 1:
        return share
    shares = [torch.empty_like(share) for _ in range(count())]
    dist.all_gather(shares, share, _Control.group if share.device.type == "cpu" else None)
    return torch.cat(shares)


def gather_all(share: Any) -> Any:
    """The same of every tensor in mappings and tuples."""
    if count() == 1:
        return share
    if isinstance(share, Mapping):
        return {key: gather_all(part) for key, part in share.items()}
    return gather(share) if isinstance(share, Tensor) else tuple(gather_all(part) for part in share)


def share(whole: Tensor) -> Tensor:
    """This process's equal share of a tensor (N, ...): what `gather` puts together again."""
    return whole if count() == 1 else whole.chunk(count())[rank()]


def total(part: Tensor) -> Tensor:
    """The sum of all processes' tensors; the same bits in every process.

    Its gradient goes to this process's part alone: each process back-propagates the whole loss through its own part, and the
    gradients of all are added up before the step (`total_in_place`).
    """
    return part if count() == 1 else _Total.apply(part)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient


def total_in_place(parts: Iterable[Tensor]) -> None:
    """Replace each tensor, a gradient say, by its sum over all processes, in one go."""
    tensors = list(parts)
    if count() == 1 or not tensors:
        return
    whole = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(whole)
    for tensor, piece in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(piece.view_as(tensor))
