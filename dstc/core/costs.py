"""What a run of a stage cost in time and memory.

Costs differ from run to run, so they are no output of a stage: each stage leaves a small record in .work/costs instead. A
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
from pathlib import Path

from dstc.core.files import work_folder, write_text


@dataclass(frozen=True)
class Cost:
    """Of the process that ended the stage: an interrupted training counts from where it went on. Where several processes
    trained together, of the first of them."""

    seconds: float
    memory: int  # bytes: the peak of the stage's largest process
    gpu_memory: int | None  # bytes that tensors took at the peak; None without a GPU
    cores: int  # of the machine


@contextmanager
def measured(
    stage: str, made: Sequence[Path], *, gpu_memory: Callable[[], int | None] = lambda: None
) -> Iterator[None]:
    """Around a stage's work: leave a record of its cost once it has made the files `made`. A failed stage leaves none."""
    start = time.monotonic()
    yield
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = round(time.monotonic() - start, 1)
    cost = Cost(seconds, largest * 1024, gpu_memory(), os.cpu_count() or 1)
    write_text(_record(stage, made), json.dumps(asdict(cost)) + "\n")


def recorded(stage: str, made: Sequence[Path]) -> Cost | None:
    """The cost of the run of `stage` that made these files; None where none was left here, or by another version."""
    try:
        return Cost(**json.loads(_record(stage, made).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _record(stage: str, made: Sequence[Path]) -> Path:
    content = hashlib.blake2b(digest_size=8)
    for path in made:
        content.update(hashlib.blake2b(path.read_bytes()).digest())
    return work_folder() / "costs" / f"{stage}-{content.hexdigest()}.json"
