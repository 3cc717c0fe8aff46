"""SGD with two groups and the poly schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from dstc.config.sections import Training


def build_optimizer(
    network: nn.Module,
    *,
    backbone_multiplier: float,
    classifier_multiplier: float,
    momentum: float,
    weight_decay: float,
) -> torch.optim.SGD:
    """SGD over each trainable parameter once, the classifier in a group of its own.

    Deviation: the released optimizer holds most convolutions of the backbone three times, so its backbone learns about
    three times as fast as its rate says; `backbone_multiplier` 3 is the nearest to that.
    """
    trainable = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    backbone = [parameter for name, parameter in trainable.items() if not name.startswith("classifier.")]
    classifier = [parameter for name, parameter in trainable.items() if name.startswith("classifier.")]
    return torch.optim.SGD(
        [
            {"params": backbone, "multiplier": backbone_multiplier},
            {"params": classifier, "multiplier": classifier_multiplier},
        ],
        lr=1.0,  # set at every iteration
        momentum=momentum,
        weight_decay=weight_decay,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Each group gets the rate times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["multiplier"]


def poly_learning_rate(
    base: float, iteration: int, *, schedule_iterations: int, power: float, lr_ramp_iterations: int = 0
) -> float:
    """base * (1 - iteration/schedule_iterations)^power, after a linear rise over `lr_ramp_iterations`."""
    ramp = min(1.0, (iteration + 1) / lr_ramp_iterations) if lr_ramp_iterations else 1.0
    return base * ramp * (1 - iteration / schedule_iterations) ** power


def poly_schedule(schedule: Training, power: float, lr_ramp_iterations: int = 0) -> Callable[[int], float]:
    """The learning rate of a training by iteration; without `schedule_iterations` it reaches zero at the training's end."""
    end = schedule.schedule_iterations or schedule.iterations
    return lambda iteration: poly_learning_rate(
        schedule.learning_rate,
        iteration,
        schedule_iterations=end,
        power=power,
        lr_ramp_iterations=lr_ramp_iterations,
    )
