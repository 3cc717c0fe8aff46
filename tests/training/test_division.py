"""A step whose passes are divided, or whose activations are computed twice, is the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dstc.core.errors import UserError
from dstc.method.batches import LabeledBatch
from dstc.method.division import Division
from dstc.models.backbones import BACKBONES
from dstc.models.gradient_checkpointing import checkpoint_blocks
from tests.models.small import small_network
from tests.training.trained import largest_difference, trained

RUNNING = {"batch_norm_statistics": "running"}
SWITCHES: list[dict[str, Any]] = [
    {},
    {"batch": {"source": 5, "labeled_target": 3, "unlabeled_target": 4}},
    {"alignment_counts_void": True, "alignment_weight": 0.5},
    {"teachers_run": "first", "update": "sequential"},
    {"confidence_threshold": 0.4, "ema_decay": 0.5},
    {"color_augmentation": True, "combination": "whole_images", "class_weights": "inverse_log"},
]


@pytest.mark.parametrize(
    ("accumulation", "switch"), [(2 + number % 2, switch) for number, switch in enumerate(SWITCHES)]
)
def test_an_accumulated_run_equals_the_undivided_one(tmp_path: Path, accumulation: int, switch: dict[str, Any]) -> None:
    undivided = trained(tmp_path / "undivided", model=RUNNING, **switch)
    divided = trained(tmp_path / "divided", model=RUNNING, optim={"accumulation": accumulation}, **switch)
    difference, where = largest_difference(undivided, divided)
    print(f"largest deviation, {accumulation} parts: {difference:.1e} in {where}")  # shown by pytest -rP
    assert difference < 1e-5, where
    assert difference > 0  # or nothing was divided


def test_with_batch_statistics_the_parts_are_what_is_normalized(tmp_path: Path) -> None:
    undivided, divided = trained(tmp_path / "a"), trained(tmp_path / "b", optim={"accumulation": 2})
    assert largest_difference(undivided, divided)[0] > 1e-4
    tracked = [name for name in divided if name.endswith("backbone.bn1.num_batches_tracked")]
    # three iterations of three passes in two parts; measuring the prototypes for the alignment does not count
    assert [divided[name].item() for name in tracked] == [3 * 3 * 2, 3 * 2 * 2, 3 * 2]


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_checkpointing_changes_no_bit(tmp_path: Path, statistics: str) -> None:
    more: dict[str, Any] = {"ema_decay": 0.5, "model": {"batch_norm_statistics": statistics}}
    plain = trained(tmp_path / "a", **more)
    recomputed = trained(tmp_path / "b", runtime={"gradient_checkpointing": True}, **more)
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_checkpointing_keeps_less_and_gives_the_same_gradient(backbone: str) -> None:
    if BACKBONES[backbone].timm_weights:
        pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    kept, gradients = [], []
    for recomputes in (False, True):
        network, stored = small_network(backbone=backbone), {}
        if recomputes:
            checkpoint_blocks(network.backbone)

        def keep(tensor: Tensor, stored: dict[int, int] = stored) -> Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network(images).square().mean()
        kept.append(sum(size for place, size in stored.items() if place not in own))
        loss.backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    assert kept[1] < kept[0] / 2
    for name, gradient in gradients[0].items():
        assert gradient is gradients[1][name] is None or torch.equal(gradient, gradients[1][name]), name


def test_a_backbone_without_known_blocks_is_refused_not_ignored() -> None:
    with pytest.raises(
        UserError, match=r"runtime\.gradient_checkpointing: true, but no blocks of this model\.backbone are known"
    ):
        checkpoint_blocks(torch.nn.Conv2d(3, 4, 1))


def test_shares_and_parts_hold_every_image_once_in_order() -> None:
    batch = LabeledBatch(torch.arange(12.0)[:, None], torch.arange(12)[:, None])
    for processes, parts in [(1, 1), (1, 5), (2, 1), (3, 2), (4, 7)]:
        divided = [
            part
            for rank in range(processes)
            for part in Division(parts=parts, processes=processes, rank=rank).labeled(batch)
        ]
        assert torch.equal(torch.cat([part.image for part in divided]), batch.image)
        assert torch.equal(torch.cat([part.label for part in divided]), batch.label)
        assert len(divided) <= parts * processes
