"""The released optimizer, which holds a parameter several times. Only parity needs it, so it lives with the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import Parameter

from dstc.models.segmentation import SegmentationNetwork


def released_visits(network: SegmentationNetwork) -> dict[Parameter, int]:
    """How often the released optimizer holds each trainable parameter.

    It is handed the parameters of every module within each part of the backbone, so a parameter comes once for each
    module around it: conv1 once, a block's convolution with its block and its layer three times, a shortcut's four times.
    """
    visits = dict.fromkeys(network.classifier.parameters(), 1)
    for part in network.backbone.children():
        for module in part.modules():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    visits[parameter] = visits.get(parameter, 0) + 1
    return visits


class DuplicatingSGD(torch.optim.Optimizer):
    """torch's unfused SGD over lists that hold each parameter as often as `visits` says.

    In the first step every visit starts a momentum buffer of its own and the last is kept (torch collects the buffers
    before it updates any); from the second step on all visits share it. Each visit decays the weight as it is by then.
    """

    def __init__(self, once: torch.optim.SGD, visits: Mapping[Parameter, int]) -> None:
        super().__init__([dict(group) for group in once.param_groups], {})
        self.visits = visits

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # noqa: ARG002 - torch's signature
        for group in self.param_groups:
            rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for parameter in group["params"]:
                state = self.state[parameter]
                is_first = "momentum" not in state
                for _ in range(self.visits[parameter]):
                    gradient = parameter.grad.add(parameter, alpha=decay)
                    buffer = gradient if is_first else state["momentum"].mul_(momentum).add_(gradient)
                    parameter.add_(buffer, alpha=-rate)
                    state["momentum"] = buffer
