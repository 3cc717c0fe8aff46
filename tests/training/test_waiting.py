"""On a GPU a step waits for the device once: when its losses are fetched. Shown on torch's "meta" device.

Tensors there hold no values, so whatever asks for one fails by itself; copies from the host that wait for it would not, and
are looked for. With `ema_decay` there are some more, where the step ends: torch's AveragedModel sends its counter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dstc.co_training.trainer import CoTrainer
from dstc.data.loaders import Crops, ValidationImages
from dstc.method.class_mix import classes_present
from dstc.method.domain_specific_initialization import Branches
from dstc.training.context import TrainingContext
from tests.co_training.test_trainer import CLASSES, params
from tests.data.small_domain import small_domain

GPU = torch.device("meta")  # as good as one: what it has done, the host cannot know


class Waits(TorchDispatchMode):
    """Notes every copy between host and device that makes the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        devices = {leaf.device.type for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
        is_a_copy = func._schema.name in ("aten::_to_copy", "aten::copy_")
        if is_a_copy and len(devices) > 1 and not kwargs.get("non_blocking"):
            self.found.append(str(func))
        return result


def crops() -> Crops:
    return torch.zeros(2, 16, 24, 3, dtype=torch.uint8), torch.zeros(2, 16, 24, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def _plain_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused one is for devices that exist."""

    def build(network: nn.Module, **_: float) -> torch.optim.SGD:
        return torch.optim.SGD([{"params": list(network.parameters()), "multiplier": 1.0}], lr=1.0, momentum=0.9)

    monkeypatch.setattr("dstc.training.context.build_optimizer", build)


def trainer(folder: Path, **switches: Any) -> CoTrainer:
    chosen = params(**switches)
    context = TrainingContext.of(chosen, CLASSES)
    context = replace(context, networks=replace(context.networks, device=GPU))
    val = ValidationImages(small_domain(folder / "images", 1), [folder / "images"])
    return CoTrainer(
        Branches(context.networks.new(), context.networks.new()), context=context, settings=chosen.co_train, val=val
    )


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"paste_with_replacement": True, "alignment_counts_void": True, "teacher_batch_norm": "batch"},
        {"teachers_run": "first", "confidence_threshold": 0.5},
        {"combination": "whole_images", "update": "sequential"},
    ],
)
def test_a_step_does_not_wait_for_the_device_until_its_losses_are_fetched(
    tmp_path: Path, switches: dict[str, Any]
) -> None:
    one = trainer(tmp_path, **switches)
    batch = {name: crops() for name in ("source", "labeled_target", "unlabeled_target")}
    one.step(1, batch, 0.1, tmp_path)
    with Waits() as waits:  # the first step has brought over what is kept
        values = one.step(1, batch, 0.1, tmp_path)
    assert waits.found == []
    assert {value.device for value in values.values()} == {GPU}


def test_waiting_is_noticed() -> None:
    with Waits() as waits:
        label = torch.zeros(2, 16, 24, dtype=torch.uint8, device=GPU)
        present = classes_present(label, 5)
        torch.zeros(3).to(GPU, non_blocking=True)
        assert waits.found == []
        torch.zeros(3).to(GPU)
        assert waits.found == ["aten._to_copy.default"]
        asking = (Tensor.cpu, Tensor.tolist, lambda it: bool(it.any()), lambda it: it.sum().item(), lambda it: it[it])
        for ask in asking:
            with pytest.raises((RuntimeError, NotImplementedError)):
                ask(present)
