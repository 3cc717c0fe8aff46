"""A co-training step of the built-in setting (params.yaml, on all cores that it may use) while another process keeps one
core busy, as many times as long as alone: median steps by the clock, alone and beside it in turns. The straightforward way
leaves OpenMP's threads to spin while they wait for each other, as libgomp does; ours soon sleep (`dstc/__init__.py`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.one_step import Case, params_of, random_batch, step_of
from bench.rows import Row
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.training.context import TrainingContext

BUSY = [sys.executable, "-c", "while True: pass"]
ROUNDS, STEPS = 5, 3
AT_MOST = 2.5


def rows() -> Iterator[Row]:
    spinning, sleeping = measured({"GOMP_SPINCOUNT": "300000"}), measured({})
    ratios = [beside / alone for alone, beside in (spinning, sleeping)]
    theirs, ours = (f"{alone:.2f} s, {beside:.2f} s" for alone, beside in (spinning, sleeping))
    found, limit = f"{ratios[1]:.1f}x (not {ratios[0]:.1f}x)", f"at most {AT_MOST:g}x"
    yield Row("a step alone, and beside a busy process", theirs, ours, found, limit, ratios[1] <= AT_MOST)


def measured(policy: dict[str, str]) -> tuple[float, float]:
    """Seconds of a step alone and beside a busy process, in a process of its own: OpenMP reads its variables once."""
    environment = {**os.environ, **policy}  # in which dstc has put its own
    command = [sys.executable, "-m", "bench.busy"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    alone, beside = json.loads(done.stdout.splitlines()[-1])
    return alone, beside


def measure() -> tuple[float, float]:
    case = Case(128, preset="", backbone="narrow_resnet", device="cpu")
    params = params_of(case)
    context = TrainingContext.of(params, CITYSCAPES_19)
    step, _ = step_of(case, context, params)
    batch = random_batch(case.crop, case.images)

    def seconds() -> list[float]:
        found = []
        for _ in range(STEPS):
            began = time.perf_counter()
            step(batch)
            found.append(time.perf_counter() - began)
        return found

    seconds()
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone += seconds()
        with subprocess.Popen(BUSY) as other:
            try:
                time.sleep(0.3)
                beside += seconds()
            finally:
                other.kill()
    return statistics.median(alone), statistics.median(beside)


if __name__ == "__main__":
    print(json.dumps(measure()))
