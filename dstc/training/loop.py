"""The loop. It knows nothing of the method: it draws batches, asks for a step, keeps the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from dstc.progress import progress
from dstc.runtime import peak_memory
from dstc.training.curves import Curve
from dstc.training.step import finite_losses

Batch = TypeVar("Batch")


@dataclass
class Curves:
    """losses: a row about every hundredth of the run; validation: a row at each validation step."""

    losses: Curve = field(default_factory=Curve)
    validation: Curve = field(default_factory=Curve)


def train(
    batches: Iterator[Batch],
    step: Callable[[int, Batch, float], dict[str, torch.Tensor]],
    *,
    name: str,
    iterations: int,
    learning_rate: Callable[[int], float],
    validate: Callable[[int], dict[str, float]],
    validate_every: int,
    loss_names: Sequence[str] = (),
    device: torch.device,
) -> Curves:
    """Run `step(iteration, batch, learning rate)` for every batch. Iterations in curves count from 1.

    `validate(iteration)` gives the numbers of one row of the validation curve; it is asked every `validate_every`
    iterations and at the end. `loss_names` get a column even if they are switched off. Prints how long it took and what
    share of it was spent waiting for data.
    """
    curves, row_every = Curves(losses=Curve(loss_names)), max(1, iterations // 100)
    waited, began = 0.0, time.perf_counter()
    with progress(total=iterations, desc=name, unit="it") as bar:
        for iteration in range(iterations):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            rate = learning_rate(iteration)
            losses = finite_losses(step(iteration, batch, rate), iteration=iteration + 1, learning_rate=rate)
            curves.losses.add(losses)
            done = iteration + 1
            if done % row_every == 0 or done == iterations:
                curves.losses.close_row(done, learning_rate=rate)
                bar.set_postfix(loss=f"{sum(losses.values()):.3f}", refresh=False)
            if done % validate_every == 0 or done == iterations:
                row = validate(done)
                curves.validation.add(row)
                curves.validation.close_row(done)
                bar.write("  ".join([f"{name} {done}", *(f"{key} {value:.2f}" for key, value in row.items())]))
            bar.update()
    took = time.perf_counter() - began
    print(
        f"{name}: {iterations} iterations in {took:.1f} s ({iterations / took:.2f} a second), "
        f"{100 * waited / took:.1f} % of it waiting for data; peak {peak_memory(device)}"
    )
    return curves
