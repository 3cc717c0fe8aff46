"""Experiments that DVC runs and keeps: named by what they set, run once, found again by name.

Typing a question (experiments/questions.py) again runs what is missing. An experiment belongs to the commit it started
from; that is why changed code or parameters must be committed first: a name would else stand for two things.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import dvc.api
import pandas as pd

from dstc.core.errors import UserError

WHAT_DECIDES = ("dstc", "stages", "splits", "dvc.yaml", "params.yaml")
Settings = Mapping[str, Any]


def name_of(settings: Settings) -> str:
    """A name that people can read and git takes, such as `size-200_seed-1-5f3a09`; other settings, another name."""
    written = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, value in settings.items()) or "as-committed"
    digest = hashlib.blake2b(json.dumps(dict(settings), sort_keys=True).encode(), digest_size=3).hexdigest()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", written)[:60].strip("-") + "-" + digest


def require_committed() -> None:
    changed = _output("git", "status", "--porcelain", "--", *WHAT_DECIDES)
    if changed.strip():
        raise UserError(
            f"changed since the last commit: {', '.join(line[3:] for line in changed.splitlines())}. Experiments are kept "
            "by commit and found again by name, so commit (or stash) first"
        )


def kept() -> set[str]:
    """Names of the experiments of this commit that DVC holds."""
    return set(_output(sys.executable, "-m", "dvc", "exp", "list", "--name-only").split())


def run_missing(wanted: Sequence[Settings], *, gpus: Sequence[str] = ()) -> None:
    """Run each of `wanted` that is not kept yet in a temporary copy; several at once only with several `gpus`, one each.

    One that fails is named at the end, when all others have run.
    """
    have = kept()
    missing = [settings for settings in wanted if name_of(settings) not in have]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} experiments are there, {len(missing)} to run", flush=True)
    free: Queue[str | None] = Queue()
    for gpu in gpus or [None]:
        free.put(gpu)
    with ThreadPoolExecutor(free.qsize()) as pool:
        codes = list(pool.map(lambda settings: _run(settings, free), missing))
    failed = [name_of(settings) for settings, code in zip(missing, codes, strict=True) if code]
    if failed:
        raise UserError(f"dvc exp run failed for {', '.join(failed)}; what it printed stands above")


def _run(settings: Settings, free: Queue[str | None]) -> int:
    gpu = free.get()
    try:
        given = [part for key, value in settings.items() for part in ("-S", f"{key}={value}")]
        command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name_of(settings), *given]
        environment = os.environ if gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        free.put(gpu)


def scores(wanted: Iterable[Settings], *, protocol: str = "half") -> pd.DataFrame:
    """One row per experiment: its settings and the mIoU, percent, of every network."""
    rows = []
    for settings in wanted:
        summary = dvc.api.metrics_show("metrics/summary.json", rev=name_of(settings))
        rows.append({**settings, **summary[protocol]})
    return pd.DataFrame(rows)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` fails: {done.stderr.strip()}")
    return done.stdout
