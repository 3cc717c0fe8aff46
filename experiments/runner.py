"""Runs what has no row yet, several jobs at a time; a job's rows are added as it ends.

To be killed is the usual way to stop. The stages notice it, save and stop; the same command goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

from ruamel.yaml import YAML

from dstc.core.code_version import code_version
from dstc.core.errors import UserError
from dstc.core.files import atomic_write, write_text
from experiments.rows import Row, Rows, in_words
from experiments.study import Job
from experiments.tasks import PROJECT, Task, code_digest, task_of, weights_digest

DONE, LOG = "done.json", "log.txt"


def run_missing(jobs: Mapping[Job, Task], rows: Rows, slots: Sequence[str | None]) -> None:
    """Run the jobs that lack a row, one at a time in each slot, on the GPU that it names. One that fails stops no other."""
    keys = {job: _keys(job, task, rows) for job, task in jobs.items()}
    missing = [job for job in jobs if not all(map(rows.have, keys[job].values()))]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} jobs have their rows, {len(missing)} to run", flush=True)
    free: Queue[str | None] = Queue()
    for slot in slots:
        free.put(slot)

    def run(job: Job) -> str | None:
        gpu = free.get()
        try:
            for task in jobs[job].with_all_before():
                make(task, gpu)
            _add_rows(job, jobs[job], keys[job], rows)
        except UserError as error:
            print(f"error: {error}", flush=True)
            return str(error)
        finally:
            free.put(gpu)
        return None

    with ThreadPoolExecutor(len(slots)) as pool:
        failed = [error for error in pool.map(run, missing) if error]
    if failed:
        raise UserError("\n".join([f"{len(failed)} jobs have no rows", *dict.fromkeys(failed)]))


def _keys(job: Job, task: Task, rows: Rows) -> dict[str, Row]:
    digest = {"digest": task.digest} if "digest" in rows.columns else {}
    return {name: {**key, **digest} for name, key in job.rows.items()}


def make(task: Task, gpu: str | None) -> None:
    """Run a stage in its folder, unless it has been run; wait where another process is at it."""
    folder, log = task.folder, task.folder / LOG
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / DONE).exists():
            return
        code_digest.cache_clear()
        weights_digest.cache_clear()
        if task_of(task.stage, task.params) != task:
            raise UserError(
                f"{task.stage.name}: the code or the initial weights have changed since the study began; start it again"
            )
        _prepare(task)
        began, is_first = time.monotonic(), not log.exists()
        commit = code_version(PROJECT, ["experiments/results"])  # of the code that runs, whatever changes meanwhile
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "DVC_ROOT": ""}
        environment["DSTC_STUDY"] = task.stage.name
        environment |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        with log.open("a") as said:
            command = [sys.executable, "-m", *task.stage.command]
            code = subprocess.run(
                command, cwd=folder, env=environment, stdout=said, stderr=said, check=False
            ).returncode
        if code:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
            raise UserError(f"{' '.join(task.stage.command)} ended with {code}: {last} (all of it: {log})")
        shutil.rmtree(folder / ".work", ignore_errors=True)  # saved states
        seconds = time.monotonic() - began if is_first else None  # unknown of a stage that was interrupted
        write_text(folder / DONE, json.dumps({"seconds": seconds, "commit": commit}) + "\n")


def _prepare(task: Task) -> None:
    """The parameters, and links to what the stages before it made."""
    with atomic_write(task.folder / "params.yaml") as path:
        YAML(typ="safe").dump(task.params, path)
    links = {"splits": PROJECT / "splits"}
    for before in task.with_all_before():
        links |= {out: before.folder / out for out in before.stage.outs if before != task}
    for name, made in links.items():
        link = task.folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(made)


def _add_rows(job: Job, task: Task, keys: Mapping[str, Row], rows: Rows) -> None:
    measured = job.measure(task.folder)
    done = {each: json.loads((each.folder / DONE).read_text()) for each in task.with_all_before()}
    took = [stage["seconds"] for stage in done.values()]
    shared = {"minutes": "" if None in took else round(sum(took) / 60, 1), "commit": done[task]["commit"]}
    rows.add([(key, {**measured[name], **shared}) for name, key in keys.items()])
    print(*(in_words({**key, **measured[name]}) for name, key in keys.items()), sep="\n", flush=True)
