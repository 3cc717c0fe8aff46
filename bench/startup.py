"""What it costs to begin: CPU time of importing a stage over that of importing torch (for those without a network: over
nothing), and `dvc repro` with nothing to do beside the same in an empty DVC project. That is run in a copy of this project
with all images of the built-in data set and trainings of two iterations: DVC looks at the same files.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.rows import Row, share_of
from dstc.config.params import read_params
from tests.pipeline.project import small_project

ROUNDS = 3
STAGES = {
    "list_data": "",
    "prepare_data": "",
    "make_split": "",
    "warm_up": "torch",
    "joint": "torch",
    "co_train": "torch",
    "evaluate": "torch",
}


def rows() -> Iterator[Row]:
    for stage, after in STAGES.items():
        before, both = seconds_of(_importing(after), _importing(after, f"stages.{stage}"))
        more, limit = both - before, "at most 0.3 s more" if after else ""
        base = f"{before:.2f} s ({after or 'Python'})"
        yield Row(f"import stages.{stage}", base, f"{both:.2f} s", f"{more:+.2f} s", limit, not limit or more <= 0.3)
    yield _nothing_to_do()


def _nothing_to_do() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ours").mkdir()
        project, empty = small_project(Path(folder) / "ours"), Path(folder) / "empty"
        project.edit_params({"data.world": read_params().data.world.model_dump()})
        for command in (["git", "init", "-q", str(empty)], ["dvc", "init", "-q", str(empty)]):
            subprocess.run(command, env=project.env, check=True)
        (empty / "dvc.yaml").write_text("stages: {}\n")
        print("bench: dvc repro in a copy of the project", flush=True)
        project.dvc("repro")
        commands = [(["dvc", "repro", "-q"], str(root)) for root in (empty, project.root)]
        bare, ours = seconds_of(*commands, env=project.env)
        assert not project.dvc("repro").ran
    return share_of("dvc repro with nothing to do", bare, ours, "s", at_most=1.5)


Command = tuple[Sequence[str], str]  # and the folder to run it in


def _importing(*modules: str) -> Command:
    return [sys.executable, "-c", "".join(f"import {module};" for module in modules if module)], "."


def seconds_of(*commands: Command, env: Mapping[str, str] = os.environ) -> list[float]:
    """The CPU time of each command: the median of several rounds in which they take turns, after one to warm the disk."""
    costs: list[list[float]] = [[] for _ in commands]
    one_thread = {**env, "OMP_NUM_THREADS": "1"}
    for number in range(ROUNDS + 1):
        for (command, folder), cost in zip(commands, costs, strict=True):
            before = _children()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=one_thread)
            if number:
                cost.append(_children() - before)
    return [statistics.median(cost) for cost in costs]


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
