"""Print the newest rows of the curves of every training that is running, and each new row as it comes; Ctrl-C ends it.

python -m dstc.training.watch
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dstc.core.errors import exit_on_user_error
from dstc.core.files import is_locked
from dstc.core.places import LOSSES, VALIDATION
from dstc.core.run_folders import lock_of, runs_folder

EVERY = 1.0  # seconds between looks


class Watch:
    """What was printed of each training."""

    def __init__(self) -> None:
        self._shown: dict[Path, int] = {}  # by curve: the iteration of the row printed last
        self._runs: set[Path] = set()
        self._idle = False

    def news(self) -> Iterator[str]:
        """The lines that are new: of a training that was not seen before, the newest row of each of its curves."""
        runs = {run for run in runs_folder().glob("*-*") if run.is_dir() and is_locked(lock_of(run))}
        for run in sorted(runs | self._runs):  # those that have just ended, too, for their last rows
            for path in (run / LOSSES, run / VALIDATION):
                yield from self._rows(path)
        if not runs and not self._idle:
            yield f"no training is running in {runs_folder()}; waiting for one"
        self._runs, self._idle = runs, not runs

    def _rows(self, path: Path) -> Iterator[str]:
        rows = _whole_rows(path)
        new = [row for row in rows if int(row["iteration"]) > self._shown[path]] if path in self._shown else rows[-1:]
        for row in new:
            numbers = "  ".join(f"{name} {value}" for name, value in row.items() if value)
            yield f"{path.parent.name} {path.stem}:  {numbers}"
            self._shown[path] = int(row["iteration"])


def _whole_rows(path: Path) -> list[dict[str, str]]:
    """Those of a CSV file that may be missing, or in the middle of being written."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def main() -> None:
    argparse.ArgumentParser(
        "python -m dstc.training.watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with exit_on_user_error(), suppress(KeyboardInterrupt):
        watch = Watch()
        while True:
            for line in watch.news():
                print(line, flush=True)
            time.sleep(EVERY)


if __name__ == "__main__":
    main()
