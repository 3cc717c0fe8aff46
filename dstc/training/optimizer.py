"""SGD as the paper has it, AdamW for transformers; the poly schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dstc.config.sections import Training

Group = dict[str, Any]
"""Of an optimizer: `params`, and by what the learning rate of an iteration is multiplied for them. Until that is known,
the `part` of the network that they are of stands for it."""


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
    groups = _plain_groups(network) if optimizer == "sgd" else _groups_by_decay(network, weight_decay, layer_decay)
    for group in groups:
        group["multiplier"] = multipliers[group.pop("part")] * group.pop("lr_scale", 1.0)
    rate = 1.0  # set at every iteration
    if optimizer == "sgd":
        built: torch.optim.Optimizer = torch.optim.SGD(
            groups, lr=rate, momentum=momentum, weight_decay=weight_decay, fused=True
        )
    else:
        built = torch.optim.AdamW(groups, lr=rate, fused=True)
    if clip_gradient_norm is not None:
        parameters, longest = list(network.parameters()), clip_gradient_norm
        built.register_step_pre_hook(lambda *_: _clip(parameters, longest))
    return built


def _plain_groups(network: nn.Module) -> list[Group]:
    trainable = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    backbone = [parameter for name, parameter in trainable.items() if not name.startswith("classifier.")]
    classifier = [parameter for name, parameter in trainable.items() if name.startswith("classifier.")]
    parts = {"backbone": backbone, "classifier": classifier}
    return [{"params": parameters, "part": part} for part, parameters in parts.items() if parameters]


def _groups_by_decay(network: nn.Module, weight_decay: float, layer_decay: float) -> list[Group]:
    """Groups with a `weight_decay` each; those of a backbone of timm also with an `lr_scale`."""
    by_layers: Callable[..., list[Group]] | None = getattr(network.get_submodule("backbone"), "parameter_groups", None)
    groups = []
    for whole in _plain_groups(network):
        part, parameters = whole["part"], whole["params"]
        if part == "backbone" and by_layers is not None:
            own = by_layers(weight_decay=weight_decay, layer_decay=layer_decay)
        else:
            norms_and_biases = [parameter for parameter in parameters if parameter.ndim <= 1]
            weights = [parameter for parameter in parameters if parameter.ndim > 1]
            own = [
                {"params": weights, "weight_decay": weight_decay},
                {"params": norms_and_biases, "weight_decay": 0.0},
            ]
        groups += [{**group, "part": part} for group in own if group["params"]]
    return groups


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
