"""All that a training has come to: enough to go on as if it had never been interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from dstc.training.curves import Curve
from dstc.training.learner import Learner

EMA = "_ema"  # after a learner's name: its average


@dataclass
class TrainingState:
    """Learners, curves and the number of iterations done. Randomness needs no state: it is a function of the iteration.

    losses has a row about every hundredth of the run; validation a row at each validation step; `best` holds, by
    network, the best validation score and the weights that reached it, where those are asked for.
    """

    learners: Sequence[Learner]
    losses: Curve = field(default_factory=Curve)
    validation: Curve = field(default_factory=Curve)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)
    iteration: int = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network that a step depends on, by name: the averages under their learner's with EMA after it."""
        averages = {f"{each.name}{EMA}": each.average for each in self.learners if each.average is not None}
        return {learner.name: learner.network for learner in self.learners} | averages

    def as_dict(self) -> dict[str, Any]:
        """Plain values and tensors alone, so that loading runs no code."""
        return {
            "iteration": self.iteration,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {learner.name: learner.optimizer.state_dict() for learner in self.learners},
            "losses": self.losses.as_dict(),
            "validation": self.validation.as_dict(),
            "best": self.best,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        for name, network in self.networks.items():
            network.load_state_dict(saved["networks"][name])
        for learner in self.learners:
            learner.optimizer.load_state_dict(saved["optimizers"][learner.name])
        self.losses.restore(saved["losses"])
        self.validation.restore(saved["validation"])
        self.best, self.iteration = dict(saved["best"]), saved["iteration"]
