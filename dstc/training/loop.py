"""The loop. It knows nothing of the method: it draws batches, asks for a step, keeps the curves, saves and resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from tqdm import tqdm

from dstc.core import processes
from dstc.core.device import peak_memory
from dstc.core.errors import in_words
from dstc.core.progress import progress
from dstc.training.failure_snapshot import FailureSnapshot
from dstc.training.interruption import Interruption, watched
from dstc.training.learner import NotFiniteError, finite_losses
from dstc.training.live import shown_live
from dstc.training.state import EMA, TrainingState
from dstc.training.working_folder import WorkingFolder

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where the state is saved, and after how many minutes: a state is large, and what it saves is time.

    The curves grow in the same folder, and in `tensorboard`, if that is set, as events in a folder of the run's own.
    """

    folder: WorkingFolder
    minutes: float
    tensorboard: Path | None = None


@dataclass(frozen=True)
class Plan(Generic[Batch]):
    """What the loop is told of a training. Iterations count from 0 here, from 1 in curves and messages.

    `batches(first)` gives the batches from iteration `first` on; `step(iteration, batch, learning rate)` takes one step and
    gives its losses by name, and what else of it is to be a curve. `validate(done)` gives the numbers of one row of the
    validation curve; it is asked every `validate_every` iterations and at the end. `images(iteration)` names the images of a
    batch.
    """

    name: str
    iterations: int
    learning_rate: Callable[[int], float]
    batches: Callable[[int], Iterator[Batch]]
    step: Callable[[int, Batch, float], dict[str, torch.Tensor]]
    validate: Callable[[int], dict[str, float]]
    validate_every: int
    images: Callable[[int], Mapping[str, Sequence[str]]] = lambda _: {}


def train(
    plan: Plan[Batch], state: TrainingState, *, device: torch.device, checkpoints: CheckpointPolicy | None = None
) -> None:
    """Take steps until `state` has seen all iterations of the plan.

    With `checkpoints`, a saved state is resumed, and SIGINT, SIGTERM, the death of the parent process, or an error while a
    batch is read, a validation runs or the state is saved, save and stop. A loss or gradient that is not finite ends the
    training. Prints how long it took and what share of it was spent waiting for data.
    """
    saved = processes.from_first(checkpoints.folder.load) if checkpoints else None
    if saved is not None:
        state.restore(saved)
        print(f"{plan.name}: resuming from iteration {state.iteration}, saved by an earlier run", flush=True)
    first, batches = state.iteration, plan.batches(state.iteration)
    began = time.perf_counter()  # whatever `batches` had to prepare is done
    bar = progress(total=plan.iterations, desc=plan.name, unit="iteration", initial=first, shown=processes.is_first())
    with bar, watched() as interruption, _live(state, checkpoints) as show:
        run = _Run(plan, state, checkpoints, bar, interruption, show)
        run.to_the_end(batches)
    ran, took = plan.iterations - first, time.perf_counter() - began
    print(
        f"{plan.name}: {ran} iterations in {took:.1f} s ({ran / took:.2f} a second), "
        f"{100 * run.waited / took:.1f} % of it waiting for data; peak {peak_memory(device)}"
    )


def _live(state: TrainingState, checkpoints: CheckpointPolicy | None) -> AbstractContextManager[Callable[[], None]]:
    """What can be watched of the run: the first process shows it, where there is a place."""
    if checkpoints is None or not processes.is_first():
        return shown_live(state, None, None)
    path, board = checkpoints.folder.path, checkpoints.tensorboard
    return shown_live(state, path, board and board / path.name)


@dataclass(frozen=True)
class _Begun(Generic[Batch]):
    """A step whose operations a GPU may still be at."""

    batch: Batch
    rate: float
    values: dict[str, torch.Tensor]


class _Run(Generic[Batch]):
    """A training from its saved state to its last iteration."""

    def __init__(
        self,
        plan: Plan[Batch],
        state: TrainingState,
        checkpoints: CheckpointPolicy | None,
        bar: tqdm[Any],
        interruption: Interruption,
        show: Callable[[], None],
    ) -> None:
        self.plan, self.state, self.checkpoints, self.show = plan, state, checkpoints, show
        self.bar, self.interruption = bar, interruption
        self.snapshot = FailureSnapshot(state.networks if processes.is_first() else {})
        self.waited, self.saved, self.saved_at = 0.0, state.iteration, time.monotonic()
        self.unsaved: OSError | None = None  # why the state could not be saved: told where all processes stop together
        self.begun: _Begun[Batch] | None = None

    def to_the_end(self, batches: Iterator[Batch]) -> None:
        plan, state = self.plan, self.state
        self._validate_if_due()  # where an earlier run was stopped before it had
        for _ in range(state.iteration, plan.iterations):
            batch = self._next(batches)  # while a GPU is at the step before: what comes of that is fetched only then
            self._count_step()
            self._begin_step(batch)
        self._count_step()
        with self.interruption.between_steps(self._stop):
            self._raise_if_unsaved()

    def _next(self, batches: Iterator[Batch]) -> Batch:
        asked = time.perf_counter()
        with self.interruption.between_steps(self._stop):
            self._raise_if_unsaved()
            batch = next(batches)
        self.waited += time.perf_counter() - asked
        return batch

    def _count_step(self) -> None:
        """End the step that was begun, if any, and do what follows a step."""
        if self.begun is not None:
            self._end_step()
            self._validate_if_due()
            self.bar.update()
            self._save_if_due()

    def _begin_step(self, batch: Batch) -> None:
        rate = self.plan.learning_rate(self.state.iteration)
        self.snapshot.take()
        self.begun = _Begun(batch, rate, self.plan.step(self.state.iteration, batch, rate))

    def _end_step(self) -> None:
        """Wait for the step, if one was begun, and count it, if all of it is finite. Before that nothing may be saved."""
        plan, state, begun = self.plan, self.state, self.begun
        if begun is None:
            return
        self.begun, rate = None, begun.rate
        try:
            losses = finite_losses(begun.values, state.learners, iteration=state.iteration + 1, learning_rate=rate)
        except NotFiniteError as error:
            images = plan.images(state.iteration)
            raise self.snapshot.error(
                error, plan.name, state.iteration, rate, batch=begun.batch, images=images
            ) from None
        for learner in state.learners:
            learner.update_average()
        state.iteration += 1
        state.losses.add(losses)
        if state.iteration % max(1, plan.iterations // 100) == 0 or state.iteration == plan.iterations:
            state.losses.close_row(state.iteration, learning_rate=rate)
            self._show_rows()

    def _show_rows(self) -> None:
        """Let people see the newest rows. An error there, as of a full disk, ends the training like one of its data."""
        self.bar.set_postfix_str(in_short(self.state), refresh=False)
        with self.interruption.between_steps(self._stop):
            self.show()

    def _validate_if_due(self) -> None:
        done, rows = self.state.iteration, self.state.validation.rows
        is_due = done > 0 and (done % self.plan.validate_every == 0 or done == self.plan.iterations)
        if not is_due or (rows and rows[-1]["iteration"] == done):
            return
        with self.interruption.between_steps(self._stop):
            row = self.plan.validate(done)
        self.state.validation.add(row)
        self.state.validation.close_row(done)
        self._show_rows()
        self.bar.write("  ".join([f"{self.plan.name} {done}", *(f"{key} {value:.2f}" for key, value in row.items())]))

    def _save_if_due(self) -> None:
        policy, done = self.checkpoints, self.state.iteration
        if policy is None or not processes.is_first():
            return
        minutes = (time.monotonic() - self.saved_at) / 60
        if done == self.plan.iterations or minutes > policy.minutes:
            self._save(policy)

    def _save(self, policy: CheckpointPolicy) -> None:
        """Save the state; an error of the disk stops the training later, where all processes can."""
        try:
            policy.folder.save(self.state.as_dict())
            self.saved, self.saved_at, self.unsaved = self.state.iteration, time.monotonic(), None
        except OSError as error:
            self.unsaved = error

    def _raise_if_unsaved(self) -> None:
        if self.unsaved:
            raise self.unsaved

    def _stop(self, problem: Exception | None) -> None:
        """Save what was done in this run, and end it: with the problem, if there is one."""
        self._end_step()
        done = self.state.iteration
        if self.checkpoints and processes.is_first() and done > self.saved:
            self._save(self.checkpoints)
        problem = problem or self.unsaved
        failed = processes.any_of(
            problem is not None
        )  # waits for the saving: torchrun kills the others soon after one ends
        saved = self.saved if self.checkpoints else 0
        what = "it is saved" if saved == done else f"saved are {saved} iterations"
        how = f"{what}: type the same command again to resume" if saved else "nothing of it is saved"
        how += f" ({in_words(self.unsaved)})" if self.unsaved else ""
        reason = "an error" if failed else self.interruption.reason or "a signal to another process"
        print(
            f"{self.plan.name}: stopped by {reason} after iteration {done} of {self.plan.iterations}; {how}",
            flush=True,
        )
        if problem:
            raise problem
        if failed:
            processes.wait()  # for the process that can say which error, and with whose end this ends
        raise SystemExit(self.interruption.exit_status)


def in_short(state: TrainingState) -> str:
    """The newest losses, added up for each learner, and the newest mIoUs: of the averaged networks, where there are any."""
    row = state.losses.rows[-1] if state.losses.rows else {}
    losses = {learner.name: sum(row.get(name, 0.0) for name in learner.losses) for learner in state.learners}
    validation = state.validation.rows[-1] if state.validation.rows else {}
    scores = {name: value for name, value in validation.items() if name.endswith("miou")}
    averaged = {name: value for name, value in scores.items() if name.endswith(f"{EMA}_miou")}
    texts = [f"{name} {loss:.3f}" for name, loss in losses.items() if loss]
    if scores:
        texts.append(f"mIoU {' '.join(f'{value:.1f}' for value in (averaged or scores).values())}")
    return ", ".join(texts)
