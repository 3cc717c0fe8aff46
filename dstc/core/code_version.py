"""Which code runs, as git tells it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path


def code_version(folder: Path, apart_from: Iterable[str] = ()) -> str:
    """The last commit that changed anything in `folder` but these paths; with a + where such a change is not committed.

    Empty where git, or a repository, is missing.
    """
    paths = ["--", ".", *(f":!{path}" for path in apart_from)]
    try:
        log, status = (
            subprocess.run(["git", *command, *paths], cwd=folder, capture_output=True, text=True, check=False).stdout
            for command in (["log", "-1", "--format=%h"], ["status", "--porcelain", "-uno"])
        )
    except FileNotFoundError:
        return ""
    return log.strip() + ("+" if status.strip() else "")
