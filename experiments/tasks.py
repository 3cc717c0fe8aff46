"""The pipeline's stages as tasks, each in a folder that is named by all that decides its result.

dvc.yaml says what that is: a stage's parameters, its code, and the stages before it. So equal work is done once for all
studies. DVC itself is left out: a sweep over seeds and settings ends in rows, not in a workspace.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dstc.config.params import check_params, read_yaml
from dstc.core.errors import UserError
from dstc.core.places import INDEX_SOURCE, NETWORK, VALIDATION
from dstc.preparation.listing import weights_line
from dstc.presets import Tree, merge, parse_settings, resolve, value_at

PROJECT = Path(__file__).resolve().parent.parent
WORK = PROJECT / ".work/experiments"
RESULTS = PROJECT / "experiments/results"
BASELINE = Path("data/baseline")  # where experiments/baseline.py writes
RUNTIME = {"workers": 0, "threads": 1, "processes": 1}  # of one job among several
OF_A_MACHINE = ("runtime.", "paths.", "model.initial_weights")


@dataclass(frozen=True)
class Stage:
    """A stage as dvc.yaml describes it; `command` is a module and its arguments."""

    name: str
    command: tuple[str, ...]
    params: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """The pipeline up to a stage (None: evaluate), with changes by dotted key on top of params.yaml and of a preset."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    stage: Stage | None = None
    preset: str | None = None


@dataclass(frozen=True)
class Task:
    """A stage with its parameters, and the tasks before it."""

    digest: str
    stage: Stage = field(compare=False)
    params: Tree = field(compare=False)
    after: tuple[Task, ...] = field(compare=False)

    @property
    def folder(self) -> Path:
        return WORK / f"{self.stage.name}-{self.digest}"

    def with_all_before(self) -> Iterator[Task]:
        """The task and all that it rests on, the first ones first, some of them more than once."""
        for task in self.after:
            yield from task.with_all_before()
        yield self


@cache
def pipeline() -> dict[str, Stage]:
    """The stages of dvc.yaml by name, without the one that tells DVC of changed data: a study's folder is made once."""
    entries = read_yaml(PROJECT / "dvc.yaml")["stages"]
    untold = {out for entry in entries.values() if entry.get("always_changed") for out in entry["outs"]}
    stages = {}
    for name, entry in entries.items():
        if entry.get("always_changed"):
            continue
        listed = [*entry["outs"], *entry.get("metrics", [])]
        outs = tuple(path for out in listed for path in ([out] if isinstance(out, str) else out))
        command = tuple(shlex.split(entry["cmd"])[3:])  # after `exec python -m`
        deps = tuple(dep for dep in entry["deps"] if dep not in untold)
        stages[name] = Stage(name, command, tuple(entry["params"]), deps, outs)
    return stages


def baseline(
    name: str, iterations: int, class_weights: str, changes: Mapping[str, Any], preset: str | None = None
) -> Run:
    """A training of experiments/baseline.py, which is as the target's warm-up but for its data and these two."""
    like, schedule = pipeline()["warm_up_target"], "warm_up.target"
    deps = (*like.deps, str(INDEX_SOURCE), "experiments/baseline.py")
    stage = Stage(
        f"baseline_{name}",
        ("experiments.baseline", name),
        like.params,
        deps,
        (str(BASELINE / NETWORK), str(BASELINE / VALIDATION)),
    )
    lengths = {f"{schedule}.iterations": iterations, f"{schedule}.validate_every": iterations}
    return Run({**changes, **lengths, f"{schedule}.class_weights": class_weights}, stage, preset)


def plan(run: Run, machine: Sequence[str]) -> Task:
    """The last task of a run. `machine`: this machine's `runtime`, and paths for runs with a preset, as key=value."""
    params = read_yaml(PROJECT / "params.yaml")
    params["runtime"] |= RUNTIME
    if params["runtime"]["cache"] == "auto":
        params["runtime"]["cache"] = str(PROJECT / ".work/cache")  # one for all folders
    for typed in machine:
        if not typed.startswith(OF_A_MACHINE):
            raise UserError(f"-S {typed}: must be of {', '.join(OF_A_MACHINE)}; all else is what a study fixes")
    if run.preset:
        params = resolve(run.preset, machine, params, PROJECT / "presets")[1]
    else:
        merge(params, parse_settings(typed for typed in machine if typed.startswith("runtime.")))
    iterations = params["joint"]["iterations"]
    params["joint"]["iterations"] = 0  # a study that compares with joint training has it as a training of its own
    for dotted, value in run.changes.items():
        for part in reversed(dotted.split(".")):
            value = {part: value}
        merge(params, value)
    if params["co_train"]["initialization"] == "both_from_joint":
        params["joint"]["iterations"] = params["joint"]["iterations"] or iterations
    check_params(params, f"params.yaml with {dict(run.changes)}")
    return task_of(run.stage or pipeline()["evaluate"], params)


def task_of(stage: Stage, params: Tree) -> Task:
    """The task of a stage, and through it of all stages that it needs."""
    makers = {out: maker for maker in pipeline().values() for out in maker.outs}
    after = tuple(task_of(maker, params) for maker in dict.fromkeys(makers[dep] for dep in stage.deps if dep in makers))
    decides = {
        "command": stage.command,
        "params": {key: value_at(params, key) for key in stage.params},
        "code": {dep: code_digest(dep) for dep in stage.deps if dep not in makers},
        "after": [task.digest for task in after],
    }
    if "model" in stage.params:
        decides["initial weights"] = weights_digest(params["model"]["initial_weights"])
    digest = hashlib.blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=8).hexdigest()
    return Task(digest, stage, params, after)


weights_digest = cache(weights_line)


@cache
def code_digest(dep: str) -> str:
    """Of the project's files below a path, as they were when this was first asked for."""
    digest, path = hashlib.blake2b(digest_size=8), PROJECT / dep
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and file.suffix != ".pyc":
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
