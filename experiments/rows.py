"""Measured rows in CSV files that git keeps. Rows are added as they come, and no figure is ever changed."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dstc.core.files import write_text

Row = Mapping[str, Any]


def in_words(row: Row) -> str:
    return ", ".join(f"{column}={value}" for column, value in row.items())


@dataclass(frozen=True)
class Rows:
    """The rows of a study; with `commit`, each lot of them becomes a commit of that file alone."""

    path: Path
    columns: tuple[str, ...]
    commit: bool = False

    def have(self, key: Row) -> bool:
        """Whether there is a row with these values."""
        there = csv.DictReader(io.StringIO(self._text()))
        return any(all(row.get(column) == str(value) for column, value in key.items()) for row in there)

    def add(self, rows: Iterable[tuple[Row, Row]]) -> None:
        """Add rows, each given as its key and what was measured, unless one with that key has come meanwhile."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # several studies may run side by side
            new = [{**key, **measured} for key, measured in rows if not self.have(key)]
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, extrasaction="ignore", lineterminator="\n")
            if not self.path.exists():
                writer.writeheader()
            writer.writerows(new)
            write_text(self.path, self._text() + text.getvalue())
            if self.commit and new:
                self._commit(f"Rows of {self.path.stem}: {in_words(new[-1])}")
        finally:
            os.close(folder)

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def _commit(self, message: str) -> None:
        for command in (["add"], ["commit", "--quiet", "--no-verify", "-m", message, "--only"]):
            done = subprocess.run(["git", *command, self.path.name], cwd=self.path.parent, check=False)
            if done.returncode:  # such as where another git is at work: the next commit takes them along
                print(f"the rows are in {self.path}, but not committed", flush=True)
