"""Tensors on their way from the host to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for what that has to do. What is sent may not be changed any more."""
    return pinned(tensor, device).to(device, non_blocking=True)


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in memory that a GPU reads by itself: a copy from any other makes the host wait."""
    is_to_go = tensor.device.type == "cpu" and device.type not in ("cpu", "meta")
    return tensor.pin_memory() if is_to_go else tensor
