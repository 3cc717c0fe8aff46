"""The loop. It knows nothing of the method: it draws batches, asks for a step, keeps the curves, saves and goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from dstc.core import processes
from dstc.core.device import peak_memory
from dstc.core.progress import progress
from dstc.training.failure_snapshot import FailureSnapshot
from dstc.training.interruption import Interruption, watched
from dstc.training.learner import NotFiniteError, finite_losses
from dstc.training.state import TrainingState
from dstc.training.working_folder import WorkingFolder

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where and how often the state is saved: after so many iterations or minutes, whichever comes first."""

    folder: WorkingFolder
    iterations: int
    minutes: float


def train(
    batches: Callable[[int], Iterator[Batch]],
    step: Callable[[int, Batch, float], dict[str, torch.Tensor]],
    state: TrainingState,
    *,
    name: str,
    iterations: int,
    learning_rate: Callable[[int], float],
    validate: Callable[[int], dict[str, float]],
    validate_every: int,
    device: torch.device,
    keeping: CheckpointPolicy | None = None,
    images: Callable[[int], Mapping[str, Sequence[str]]] = lambda _: {},
) -> None:
    """Run `step(iteration, batch, learning rate)` until `state` has seen all iterations. In curves they count from 1.

    `batches(first)` gives the batches from iteration `first` on. `validate(iteration)` gives the numbers of one row of the
    validation curve; it is asked every `validate_every` iterations and at the end. With `keeping`, a saved state is taken
    up, and SIGINT, SIGTERM, the death of the parent process, or an error while a batch is read or validated, save and stop.
    Prints how long it took and what share of it was spent waiting for data. A loss or gradient that is not finite ends it;
    `images(iteration)`, counted from 0, names the images of the batch then.
    """
    _resume(state, keeping, name)
    snapshot = FailureSnapshot(state.networks if processes.is_first() else {})
    row_every, first, source = max(1, iterations // 100), state.iteration, batches(state.iteration)
    began, waited, saved_at = time.perf_counter(), 0.0, time.monotonic()  # whatever `batches` had to prepare is done
    shown = processes.is_first()
    with (
        progress(total=iterations, desc=name, unit="iteration", initial=first, shown=shown) as bar,
        watched() as interruption,
    ):
        stop = partial(_stop, name, state, iterations, interruption, keeping, first)

        def validate_if_due() -> None:
            done = state.iteration
            if not _validation_is_due(state, validate_every, iterations):
                return
            with interruption.between_steps(stop, together=True):
                row = validate(done)
            state.validation.add(row)
            state.validation.close_row(done)
            bar.write("  ".join([f"{name} {done}", *(f"{key} {value:.2f}" for key, value in row.items())]))

        validate_if_due()  # where an earlier run was stopped before it had
        while state.iteration < iterations:
            asked = time.perf_counter()
            with interruption.between_steps(stop):
                batch = next(source)
            waited += time.perf_counter() - asked
            rate = learning_rate(state.iteration)
            snapshot.take()
            values = step(state.iteration, batch, rate)
            try:
                losses = finite_losses(values, state.learners, iteration=state.iteration + 1, learning_rate=rate)
            except NotFiniteError as fault:
                seen = images(state.iteration)
                raise snapshot.error(fault, name, state.iteration, rate, batch=batch, images=seen) from None
            state.iteration += 1
            done, last = state.iteration, state.iteration == iterations
            state.losses.add(losses)
            if done % row_every == 0 or last:
                state.losses.close_row(done, learning_rate=rate)
                bar.set_postfix(loss=f"{sum(losses.values()):.3f}", refresh=False)
            validate_if_due()
            bar.update()
            if keeping and processes.is_first() and (last or _is_due(keeping, done, saved_at)):
                keeping.folder.save(state.as_dict())
                saved_at = time.monotonic()
    ran, took = iterations - first, time.perf_counter() - began
    print(
        f"{name}: {ran} iterations in {took:.1f} s ({ran / took:.2f} a second), "
        f"{100 * waited / took:.1f} % of it waiting for data; peak {peak_memory(device)}"
    )


def _resume(state: TrainingState, keeping: CheckpointPolicy | None, name: str) -> None:
    saved = processes.from_first(keeping.folder.load) if keeping else None
    if saved is not None:
        state.restore(saved)
        print(f"{name}: goes on after iteration {state.iteration}, saved by an earlier run", flush=True)


def _is_due(keeping: CheckpointPolicy, done: int, saved_at: float) -> bool:
    return done % keeping.iterations == 0 or time.monotonic() - saved_at > 60 * keeping.minutes


def _validation_is_due(state: TrainingState, validate_every: int, iterations: int) -> bool:
    done, rows = state.iteration, state.validation.rows
    return (
        done > 0 and (done % validate_every == 0 or done == iterations) and (not rows or rows[-1]["iteration"] < done)
    )


def _stop(
    name: str,
    state: TrainingState,
    iterations: int,
    interruption: Interruption,
    keeping: CheckpointPolicy | None,
    first: int,
    problem: Exception | None,
) -> None:
    """Save what was done since iteration `first`, and end the run: with the problem, if there is one."""
    failed = processes.any_of(problem is not None)
    if keeping and processes.is_first() and state.iteration > first:
        keeping.folder.save(state.as_dict())
    processes.wait()  # for the saving: torchrun kills the others soon after one has ended
    saved = keeping is not None and state.iteration > 0
    how = "it is saved: type the same command again to go on" if saved else "nothing of it is saved"
    reason = "an error" if failed else interruption.reason or "a signal to another process"
    print(f"{name}: stopped by {reason} after iteration {state.iteration} of {iterations}; {how}", flush=True)
    if problem:
        raise problem
    if failed:
        processes.wait()  # for the process that can say which error, and with whose end this ends
    raise SystemExit(interruption.exit_status)
