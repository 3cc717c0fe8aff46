"""On a GPU a step waits for the device once: when its losses are fetched. Shown on torch's "meta" device.

Tensors there hold no values, so whatever asks for one fails by itself; copies that wait would not, and are looked for: those
to the host, and those from memory of the host that is not pinned. Here no memory can be pinned; what would be is noted.
Not shown is `co_train.color_augmentation`: turning the hue, torchvision sends a small table for each image, and waits.
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
from dstc.core.sending import sent
from dstc.data.loaders import Crops, ValidationImages
from dstc.method.class_mix import classes_present
from dstc.method.domain_specific_initialization import Branches
from dstc.training.context import TrainingContext
from dstc.training.failure_snapshot import FailureSnapshot
from tests.co_training.test_trainer import CLASSES, params
from tests.data.small_domain import small_domain

GPU = torch.device("meta")  # as good as one: what it has done, the host cannot know
COPIES = ("aten::_to_copy", "aten::copy_", "aten::_foreach_copy_")


class Waits(TorchDispatchMode):
    """Notes every copy between host and device that makes the host wait, all but those `sent` from `pinned` tensors."""

    def __init__(self, pinned: list[Tensor]) -> None:
        super().__init__()
        self.pinned, self.found = pinned, list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        devices = {leaf.device.type for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
        if func._schema.name in COPIES and len(devices) > 1 and not self._is_free(args, kwargs):
            self.found.append(str(func))
        return result

    def _is_free(self, args: Any, kwargs: Any) -> bool:
        sources = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.device.type == "cpu"]
        return bool(kwargs.get("non_blocking")) and all(any(one is pinned for pinned in self.pinned) for one in sources)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The tensors that would be pinned."""
    found: list[Tensor] = []
    monkeypatch.setattr("dstc.core.sending.pinned", lambda tensor, _: found.append(tensor) or tensor)
    return found


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
    tmp_path: Path, switches: dict[str, Any], pinned: list[Tensor]
) -> None:
    one = trainer(tmp_path, **switches)
    snapshot = FailureSnapshot(one.state.networks)
    assert all(learner.average is not None for learner in one.learners)
    batch = {name: crops() for name in ("source", "labeled_target", "unlabeled_target")}
    for waits in (Waits(pinned), Waits(pinned)):  # the first step has brought over what is kept
        with waits:
            snapshot.take()
            values = one.step(1, batch, 0.1, tmp_path)
            for learner in one.learners:
                learner.update_average()
    assert waits.found == []
    assert {value.device for value in values.values()} == {GPU}


def test_waiting_is_noticed(pinned: list[Tensor]) -> None:
    with Waits(pinned) as waits:
        label = torch.zeros(2, 16, 24, dtype=torch.uint8, device=GPU)
        present = classes_present(label, 5)
        sent(torch.zeros(3), GPU)
        assert waits.found == []
        torch.zeros(3).to(GPU, non_blocking=True)  # from memory that is not pinned
        torch.zeros(3).to(GPU)
        torch.zeros(3, device=GPU).copy_(torch.zeros(3))
        torch._foreach_copy_([torch.zeros(3, device=GPU)], [torch.zeros(3)])
        assert waits.found == [
            "aten._to_copy.default",
            "aten._to_copy.default",
            "aten.copy_.default",
            "aten._foreach_copy_.default",
        ]
        asking = (Tensor.cpu, Tensor.tolist, lambda it: bool(it.any()), lambda it: it.sum().item(), lambda it: it[it])
        for ask in asking:
            with pytest.raises((RuntimeError, NotImplementedError)):
                ask(present)
