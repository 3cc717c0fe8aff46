"""Peak memory of a co-training step beside that of a supervised step of the same network and crop plus the second network's
weights and momentum: ResNet-101, 2 + 2 + 2 images against 2, the preset gta5_cityscapes without averages, where the
branches label for each other; then with the averages that trainings keep (`optim.ema_decay`), weights of their own.
"Tensors" are the bytes of all tensors that are alive at once, counted in fp32 on torch's "meta" device: exact, and the
same on a GPU but for its libraries' buffers. "Process" is the peak of a process on the CPU, in bf16, over what it took
before there were networks; the C library keeps of what is freed as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.one_step import Case, measured, params_of, random_batch, step_of
from bench.rows import Row, times_as_much
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.training.context import TrainingContext

CROPS = (256, 512)
LIMIT = 1.15


def rows() -> Iterator[Row]:
    for crop in CROPS:
        case = Case(crop, ema_decay=0)
        plain, averaged = tensors_of(case), tensors_of(replace(case, ema_decay=0.999))
        allowed = tensors_of(replace(case, kind="supervised")) + second_network(case)
        yield times_as_much(f"tensors of a step at {crop}x{crop}", allowed, plain, at_most=LIMIT)
        yield times_as_much(f"tensors of a step at {crop}x{crop}, with averages kept", plain, averaged)
    for crop in CROPS:
        case = Case(crop, precision="bf16", ema_decay=0)
        supervised, ours = (measured(replace(case, kind=kind))["whole"] for kind in ("supervised", "co_training"))
        what = f"process of a step at {crop}x{crop}"
        yield times_as_much(what, supervised + second_network(case), ours, at_most=LIMIT)
        yield times_as_much(f"{what}, with averages kept", ours, measured(replace(case, ema_decay=0.999))["whole"])


def second_network(case: Case) -> int:
    """Bytes of a network's weights and statistics, and of the momentum of what is trained."""
    network = TrainingContext.of(params_of(case), CITYSCAPES_19).networks.new()
    parameters = list(network.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return sum(tensor.nbytes for tensor in (*parameters, *network.buffers(), *trained))


def tensors_of(case: Case) -> int:
    """The most bytes of tensors that are alive at once in the case's second step, when there is momentum."""
    params = params_of(case)
    context = TrainingContext.of(params, CITYSCAPES_19)
    context = replace(context, networks=replace(context.networks, device=torch.device("meta")))
    with patch("dstc.training.context.build_optimizer", _plain_sgd), _Alive() as alive:
        step, learners = step_of(case, context, params)
        for learner in learners:
            for tensor in (*learner.network.parameters(), *learner.network.buffers()):
                alive.add(tensor)
        for _ in range(2):
            step(random_batch(case.crop, case.images))
    return alive.peak


def _plain_sgd(network: nn.Module, *, momentum: float, weight_decay: float, **_: float) -> torch.optim.SGD:
    """The fused one is for devices that exist; this one has no more memory than that, parameter by parameter."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained, "multiplier": 1.0}]
    return torch.optim.SGD(groups, lr=1.0, momentum=momentum, weight_decay=weight_decay, foreach=False)


class _Alive(TorchDispatchMode):
    """The most bytes of storages on the meta device that were alive after an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.seen = self.peak = 0  # `seen` counts some that are gone

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        known = self.storages.get(storage._cdata)
        if tensor.device.type == "meta" and (known is None or known[0].expired()):
            self.seen += storage.nbytes() - (known[1] if known else 0)
            self.storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            if self.seen > self.peak:
                self.storages = {key: kept for key, kept in self.storages.items() if not kept[0].expired()}
                self.seen = sum(size for _, size in self.storages.values())
                self.peak = max(self.peak, self.seen)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result
