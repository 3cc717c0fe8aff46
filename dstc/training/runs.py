"""List the working folders of trainings, and remove those that are no longer wanted.

    python -m dstc.training.runs                      every folder: how it stands, its age, its size
    python -m dstc.training.runs clean                remove all but those of trainings at work
    python -m dstc.training.runs clean --hours 48     remove those untouched for longer than that

An interrupted training resumes from its folder; one that is cleaned away starts over.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dstc.core.errors import exit_on_user_error
from dstc.core.files import is_locked
from dstc.core.run_folders import FINISHED, STATE, failures_folder, lock_of, remove_run, runs_folder


@dataclass(frozen=True)
class Run:
    """A working folder, or the snapshot of a failed step, as it stands."""

    path: Path
    state: str  # "at work", "finished", "interrupted", "nothing saved" or "failed step"
    hours: float  # since it was last written to
    megabytes: float

    def __str__(self) -> str:
        return f"{self.path}  {self.state}  {self.hours:.1f} hours old  {self.megabytes:.0f} MB"


def list_runs() -> list[Run]:
    """All of them, sorted by path."""
    folders = [folder for folder in sorted(runs_folder().glob("*-*")) if folder.is_dir()]
    failures = sorted(failures_folder().glob("*.pt"))
    return [_run(folder, _state(folder)) for folder in folders] + [_run(file, "failed step") for file in failures]


def clean(*, older_than_hours: float = 0.0) -> list[Run]:
    """Remove what is old enough and not at work; give what was removed."""
    removed = [run for run in list_runs() if run.state != "at work" and run.hours >= older_than_hours]
    for run in removed:
        remove_run(run.path) if run.path.is_dir() else run.path.unlink()
    return removed


def _run(path: Path, state: str) -> Run:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    newest = max((file.stat().st_mtime for file in files), default=path.stat().st_mtime)
    return Run(path, state, (time.time() - newest) / 3600, sum(file.stat().st_size for file in files) / 1e6)


def _state(folder: Path) -> str:
    if is_locked(lock_of(folder)):
        return "at work"
    if (folder / FINISHED).exists():
        return "finished"
    return "interrupted" if (folder / STATE).exists() else "nothing saved"


def main(arguments: Sequence[str] | None = None, prog: str = "python -m dstc.training.runs") -> None:
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", nargs="?", choices=["list", "clean"], default="list")
    parser.add_argument("--hours", type=float, default=0.0, help="clean: only what is untouched for so long")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        runs = clean(older_than_hours=options.hours) if options.do == "clean" else list_runs()
        for run in runs:
            print(f"removed {run}" if options.do == "clean" else run)
        if not runs:
            print(f"nothing to {options.do} in {runs_folder()}")


if __name__ == "__main__":
    main()
