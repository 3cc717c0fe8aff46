"""What a run of a stage cost in time and memory, and when and from which code it ran.

This differs from run to run, so it is no output of a stage: each stage leaves a small record in .work/costs instead. A
record is named by the stage and by a digest of what the stage made. That is how the report finds the record of its very
run among those that other experiments leave in the same folder, and that of an earlier training which DVC restored.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from dstc.core.code_version import code_version
from dstc.core.files import work_folder, write_text

RESULTS = ("metrics", "dvc.lock", "params.yaml")
"""What a run writes, and its parameters, which the report shows: no code."""


@dataclass(frozen=True)
class RunRecord:
    """Of the process that ended the stage: an interrupted training counts from where it went on. Where several processes
    trained together, of the first of them."""

    seconds: float
    memory: int  # bytes: the peak of the stage's largest process
    gpu_memory: int | None  # bytes that tensors took at the peak; None without a GPU
    cores: int  # of the machine
    ended: str  # UTC, to the minute
    commit: str  # of the code, with a + where it was changed since; empty outside of git
    experiment: str | None  # DVC's name of it


@contextmanager
def measured(
    stage: str, made: Sequence[Path], *, gpu_memory: Callable[[], int | None] = lambda: None
) -> Iterator[None]:
    """Around a stage's work: leave a record of its cost once it has made the files `made`. A failed stage leaves none."""
    start, commit = time.monotonic(), code_version(Path(), RESULTS)  # of the code that runs, whatever changes meanwhile
    yield
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = round(time.monotonic() - start, 1)
    record = RunRecord(
        seconds=seconds,
        memory=largest * 1024,
        gpu_memory=gpu_memory(),
        cores=os.cpu_count() or 1,
        ended=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=commit,
        experiment=os.environ.get("DVC_EXP_NAME"),
    )
    write_text(_path(stage, made), json.dumps(asdict(record)) + "\n")


def recorded(stage: str, made: Sequence[Path]) -> RunRecord | None:
    """The record of the run of `stage` that made these files; None where none was left here, or by another version."""
    try:
        return RunRecord(**json.loads(_path(stage, made).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _path(stage: str, made: Sequence[Path]) -> Path:
    content = hashlib.blake2b(digest_size=8)
    for path in made:
        content.update(hashlib.blake2b(path.read_bytes()).digest())
    return work_folder() / "costs" / f"{stage}-{content.hexdigest()}.json"
