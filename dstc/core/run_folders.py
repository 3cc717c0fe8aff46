"""Where the working folders of trainings lie, what is in them, and when they go.

A training fills its own (`dstc.training.working_folder`); what else looks at them needs no torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dstc.core.files import work_folder

STATE, MANIFEST, FINISHED = "state.pt", "manifest.json", "finished"


def runs_folder() -> Path:
    """The folder of all working folders."""
    return work_folder() / "runs"


def failures_folder() -> Path:
    """Where snapshots of failed steps go: not in a run's own folder, which a run without a saved state leaves not."""
    return work_folder() / "failures"


def lock_of(run: Path) -> Path:
    """The file that the process at work on a run holds; it tells that process's id. Beside the folder, which may go."""
    return run.with_name(f"{run.name}.lock")


def remove_run(run: Path) -> None:
    """Remove a working folder that no process holds, and the lock that a killed one left."""
    shutil.rmtree(run, ignore_errors=True)
    lock_of(run).unlink(missing_ok=True)


def remove_recorded(lock_file: Path = Path("dvc.lock")) -> None:
    """Remove the working folders of finished runs whose outputs dvc.lock records: they have done their duty."""
    recorded = lock_file.read_text(errors="replace") if lock_file.exists() else ""
    for note in runs_folder().glob(f"*/{FINISHED}"):
        if note.read_text().strip() in recorded:
            remove_run(note.parent)
