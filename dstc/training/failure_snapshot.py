"""What is kept of a step that went wrong: the batch, and the weights that it began with.

A snapshot holds the whole batch as the loader gave it, the names of its images by stream, the weights of every
network before the step, the iteration (counted from 0, as the random draws of the step are), the learning rate, the problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.core.run_folders import failures_folder
from dstc.models.checkpoints import write_tensors
from dstc.training.learner import NotFiniteError

NAMES_SHOWN = 8


class FailureSnapshot:
    """Keeps a copy of the networks as they were before the step at hand: a step moves weights and statistics at once."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = networks
        self._before = {
            name: {key: value.clone() for key, value in network.state_dict().items()}
            for name, network in networks.items()
        }

    @torch.no_grad()
    def take(self) -> None:
        """Copy the networks as they are now. Does not wait for the device."""
        # One copy of many tensors takes a GPU much less time to start than many copies; all are of one kind in it.
        alike: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        for name, network in self._networks.items():
            for key, value in network.state_dict().items():
                befores, values = alike.setdefault((value.device, value.dtype), ([], []))
                befores.append(self._before[name][key])
                values.append(value)
        for befores, values in alike.values():
            torch._foreach_copy_(befores, values)

    def error(
        self,
        problem: NotFiniteError,
        stage: str,
        iteration: int,
        learning_rate: float,
        *,
        batch: Any,
        images: Mapping[str, Sequence[str]],
    ) -> UserError:
        """Save the snapshot; what to tell the user of `problem`, found in the step of `iteration` (counted from 0).

        `batch` is this process's share: all find the problem at once, for they add up their losses and gradients.
        """
        batch = processes.gather_all(batch)
        path = failures_folder() / f"{stage}_iteration_{iteration + 1:06d}.pt"
        content = {
            "stage": stage,
            "iteration": iteration,
            "learning_rate": learning_rate,
            "problem": str(problem),
            "images": {name: list(names) for name, names in images.items()},
            "batch": batch,
            "networks": self._before,
        }
        try:
            if processes.is_first():
                write_tensors(path, content)
            kept = f"The batch and the weights before this step are in {path}; what was saved earlier is as it was"
        except OSError as error:
            kept = f"The batch could not be saved ({path}: {error.strerror}); what was saved earlier is as it was"
        return UserError(
            f"{problem}. Lower the learning rate or check the images of this batch{_listed(images)}\n{kept}"
        )


def _listed(images: Mapping[str, Sequence[str]]) -> str:
    names = list(dict.fromkeys(name for some in images.values() for name in some))
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (": " + ", ".join(names[:NAMES_SHOWN]) + more) if names else ""
