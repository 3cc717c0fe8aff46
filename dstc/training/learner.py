"""A network that learns: the one .backward() and the one .step() of the project."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dstc.core import processes
from dstc.core.batches import LabeledBatch
from dstc.core.errors import UserError


class Learner:
    """A network that is trained, its optimizer, its name in the curve, its average, and its numbers in the step at hand.

    A step is `zero_grad`, `back_propagate` for each of its graphs, `step`; then `update_average`, where there is an average
    (dstc/training/averaging.py). Nothing here waits for the device.
    """

    def __init__(
        self, name: str, network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedModel | None = None
    ) -> None:
        self.name, self.network, self.optimizer, self.average = name, network, optimizer, average
        self.losses: dict[str, Tensor] = {}  # as handed over, by "name of the learner/name of the loss"
        self.observed: dict[str, Tensor] = {}  # what else is to be a curve, by such names

    def __call__(self, batch: LabeledBatch) -> tuple[Tensor, Tensor]:
        """Logits (N, K, H, W) and labels (N, H, W) of this process's share of a batch."""
        return self.network(processes.share(batch.image)), processes.share(batch.label)

    def zero_grad(self) -> None:
        """Begin a step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.losses, self.observed = {}, {}

    def back_propagate(self, losses: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> None:
        """Add the gradient of the losses' sum, each times its weight (1 if not named); their graph is gone then."""
        weighted = [(weights or {}).get(name, 1.0) * loss for name, loss in losses.items()]
        torch.stack(weighted).sum().backward()
        self.losses |= {f"{self.name}/{name}": loss.detach() for name, loss in losses.items()}

    def observe(self, values: Mapping[str, Tensor]) -> None:
        """Note numbers of this step that are no losses, as tensors of no dimension on the network's device."""
        self.observed |= {f"{self.name}/{name}": value.detach() for name, value in values.items()}

    def step(self) -> None:
        """Step by the gradients of all processes together."""
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        processes.total_in_place(gradients)
        self.optimizer.step()

    def update_average(self) -> None:
        """Let the average follow the network."""
        if self.average is not None:
            self.average.update_parameters(self.network)


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
