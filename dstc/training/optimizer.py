"""SGD as the paper has it, AdamW for transformers; the poly schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dstc.config.sections import Training

Group = dict[str, Any]
"""Of an optimizer: `params`, and `multiplier`, by which the learning rate of an iteration is multiplied for them."""


def build_optimizer(
    network: nn.Module,
    *,
    backbone_multiplier: float,
    classifier_multiplier: float,
    momentum: float,
    weight_decay: float,
    optimizer: str = "sgd",
    layer_decay: float = 1.0,
    clip_gradient_norm: float | None = None,
) -> torch.optim.Optimizer:
    """The optimizer over each trainable parameter once, the classifier in groups of its own.

    "sgd" has the `momentum` and decays all weights. "adamw" decays none of norms, biases and embeddings; of a backbone of
    timm each layer learns `layer_decay` times as fast as the one above it (BEiT, Bao et al., ICLR 2022). With
    `clip_gradient_norm`, the gradient of all parameters together is shortened to that length before a step.

    Deviation: the released optimizer holds most convolutions of the backbone three times, so its backbone learns about
    three times as fast as its rate says; `backbone_multiplier` 3 is the nearest to that.
    """
    multipliers = {"backbone": backbone_multiplier, "classifier": classifier_multiplier}
    # The rate is set at every iteration.
    if optimizer == "sgd":
        groups = [
            {"params": _trainable(network.get_submodule(part)), "multiplier": multiplier}
            for part, multiplier in multipliers.items()
        ]
        built: torch.optim.Optimizer = torch.optim.SGD(
            _not_empty(groups), lr=1.0, momentum=momentum, weight_decay=weight_decay, fused=True
        )
    else:
        groups = [
            {**group, "multiplier": multiplier * group.pop("lr_scale", 1.0)}
            for part, multiplier in multipliers.items()
            for group in _by_decay(network.get_submodule(part), weight_decay, layer_decay)
        ]
        built = torch.optim.AdamW(_not_empty(groups), lr=1.0, fused=True)
    if clip_gradient_norm is not None:
        parameters, longest = _trainable(network), clip_gradient_norm
        built.register_step_pre_hook(lambda *_: _clip(parameters, longest))
    return built


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _not_empty(groups: list[Group]) -> list[Group]:
    return [group for group in groups if group["params"]]


def _by_decay(module: nn.Module, weight_decay: float, layer_decay: float) -> list[Group]:
    """Groups with a `weight_decay` each; those of timm's networks also with an `lr_scale`."""
    if hasattr(module, "parameter_groups"):
        own: Callable[..., list[Group]] = module.parameter_groups  # type: ignore[assignment]
        return own(weight_decay=weight_decay, layer_decay=layer_decay)
    parameters = _trainable(module)
    return [
        {"params": [own for own in parameters if own.ndim > 1], "weight_decay": weight_decay},
        {"params": [own for own in parameters if own.ndim <= 1], "weight_decay": 0.0},  # norms and biases
    ]


def _clip(parameters: list[nn.Parameter], longest: float) -> None:
    nn.utils.clip_grad_norm_(parameters, longest)


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


def poly_schedule(schedule: Training, power: float) -> Callable[[int], float]:
    """The learning rate of a training by iteration; without `schedule_iterations` it reaches zero at the training's end."""
    end = schedule.schedule_iterations or schedule.iterations
    return lambda iteration: poly_learning_rate(
        schedule.learning_rate,
        iteration,
        schedule_iterations=end,
        power=power,
        lr_ramp_iterations=schedule.lr_ramp_iterations,
    )
