"""A step whose activations are computed twice is the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dstc.core.errors import UserError
from dstc.models.backbones import BACKBONES
from dstc.models.gradient_checkpointing import checkpoint_blocks
from tests.models.small import small_network
from tests.training.trained import trained


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_checkpointing_changes_no_bit(tmp_path: Path, statistics: str) -> None:
    more: dict[str, Any] = {"teachers": "averaged", "model": {"batch_norm_statistics": statistics}}
    plain = trained(tmp_path / "a", **more)
    recomputed = trained(tmp_path / "b", runtime={"gradient_checkpointing": True}, **more)
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if not name.endswith("_base")])  # those are large
def test_checkpointing_keeps_less_and_gives_the_same_gradient(backbone: str) -> None:
    if BACKBONES[backbone].of_timm:
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
