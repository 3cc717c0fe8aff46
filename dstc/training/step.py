"""One training step of any number of learners: the one .backward() and the one .step() of the project."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.models.batch_norm import average_statistics

Losses = Iterator[dict[str, Tensor]]


@dataclass(frozen=True)
class Learner:
    """A network that is trained, its optimizer, its name in the curve, the weights of its losses (1 if not named)."""

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss_weights: Mapping[str, float] = field(default_factory=dict)


def training_step(
    learners: Sequence[tuple[Learner, Callable[[], Losses]]], *, sequential: bool = False
) -> dict[str, Tensor]:
    """Back-propagate every loss of every learner, one graph alive at a time, and step.

    `sequential` steps each learner before the next one's losses are asked for; otherwise all step at the end. Gives
    each loss, unweighted, as "learner/loss"; a loss that several graphs, or processes, have a part of is their sum. Nothing
    here waits for the device.
    """
    values: dict[str, Tensor] = {}
    for learner, losses in learners:
        learner.optimizer.zero_grad(set_to_none=True)
        for terms in losses():
            total = torch.stack([learner.loss_weights.get(name, 1.0) * loss for name, loss in terms.items()]).sum()
            total.backward()
            for name, loss in terms.items():
                key = f"{learner.name}/{name}"
                values[key] = values[key] + loss.detach() if key in values else loss.detach()
        parameters = learner.network.parameters()
        processes.total_in_place(parameter.grad for parameter in parameters if parameter.grad is not None)
        if sequential:
            learner.optimizer.step()
    for learner, _ in learners:
        if not sequential:
            learner.optimizer.step()
        average_statistics(learner.network)
    return dict(zip(values, processes.total(torch.stack(list(values.values()))), strict=True)) if values else {}


class NotFiniteError(UserError):
    """A loss or a gradient is NaN or infinite."""


def finite_losses(
    values: Mapping[str, Tensor], learners: Sequence[Learner] = (), *, iteration: int, learning_rate: float
) -> dict[str, float]:
    """The losses as numbers; one that is not finite, or a learner's gradient that is not, raises NotFiniteError, named.

    Everything is fetched from the device in one go, so this waits for it once a step.
    """
    gradients = {learner.name: _largest_gradient(learner) for learner in learners}
    fetched = torch.stack([*values.values(), *gradients.values()]).tolist()
    losses = dict(zip(values, fetched, strict=False))
    where = f"(learning rate {learning_rate:.3g})"
    for name, value in losses.items():
        if not math.isfinite(value):
            raise NotFiniteError(f"iteration {iteration}: the loss {name} is {value} {where}")
    for name, value in zip(gradients, fetched[len(losses) :], strict=True):
        if not math.isfinite(value):
            raise NotFiniteError(
                f"iteration {iteration}: the gradient of {name} is {value} {where}, its losses are finite"
            )
    return losses


def _largest_gradient(learner: Learner) -> Tensor:
    """The largest absolute value in the gradients of the last step: not finite exactly if one of them is not."""
    parameters = [parameter for group in learner.optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros((), device=parameters[0].device)
    return torch.nn.utils.get_total_norm(gradients, norm_type=math.inf)
