"""What the training stages have in common: their processes, their working folder, and what they write at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from dstc.config.sections import Runtime, Training
from dstc.core import processes
from dstc.core.costs import measured
from dstc.core.device import peak_gpu_bytes
from dstc.core.files import main_folder, require_writable
from dstc.core.index import DomainIndex
from dstc.core.places import LOSSES, MADE_BY, VALIDATION
from dstc.core.run_folders import remove_recorded
from dstc.data.loaders import Stream
from dstc.training.context import TrainingContext, training_record
from dstc.training.launching import in_processes
from dstc.training.loop import CheckpointPolicy
from dstc.training.state import TrainingState
from dstc.training.working_folder import WorkingFolder


def run_training_stage(
    stage: str, command: Sequence[str], work: Callable[[], None], *, runtime: Runtime, batches: Mapping[str, int]
) -> None:
    """Do the work of a stage in the processes that `runtime` asks for, and leave a record of its cost.

    `command` is the stage's module and arguments; `batches` are the batch sizes by parameter.
    """

    def measured_work() -> None:
        record = measured(stage, MADE_BY[stage], gpu_memory=peak_gpu_bytes)
        with record if processes.is_first() else nullcontext():
            work()

    in_processes(measured_work, command, wanted=runtime.processes, device=runtime.device, batches=batches)


@contextmanager
def checkpoints_of(
    stage: str, *, tracked: Mapping[str, Any], inputs: Sequence[Path], outputs: Path, context: TrainingContext
) -> Iterator[CheckpointPolicy]:
    """The run's working folder, held; `tracked` parameters, `inputs` and what computes decide what run it is."""
    runtime, computing = context.runtime, context.computing
    if processes.is_first():
        remove_recorded()
        require_writable(outputs)
    with WorkingFolder(stage, params=tracked, inputs=inputs, outputs=outputs, computing=computing).held() as folder:
        board = main_folder() / runtime.tensorboard if runtime.tensorboard else None
        yield CheckpointPolicy(folder, runtime.checkpoint_every_minutes, board)


def write_training(
    state: TrainingState,
    files: Mapping[str, Path],
    *,
    context: TrainingContext,
    checkpoints: CheckpointPolicy,
    streams: Mapping[str, Stream],
    target: DomainIndex,
    schedule: Training,
) -> None:
    """Write each learner's network to its file (`files` by name), and the curves beside them: the first process does.

    `target` is an index of the target, for what a prediction must know of its images.
    """
    if not processes.is_first():
        return
    for learner in state.learners:
        path, inputs = files[learner.name], checkpoints.folder.inputs
        state.losses.save(path.parent / LOSSES)
        state.validation.save(path.parent / VALIDATION)
        record = training_record(learner.name, streams=streams, target=target, schedule=schedule, inputs=inputs)
        context.save(path, learner.network, learner.average, **record)
    checkpoints.folder.finish(path)
