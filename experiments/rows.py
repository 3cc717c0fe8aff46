"""Measured rows in CSV files that git keeps: appended as they come, so that a sweep that is cut off goes on."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


class Rows:
    """The rows of one experiment; `key` columns say which measurement a row is."""

    def __init__(self, name: str, key: tuple[str, ...]) -> None:
        self.path, self.key, self._lock = RESULTS / f"{name}.csv", key, threading.Lock()

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.path) if self.path.exists() else pd.DataFrame(columns=[*self.key])

    def has(self, **values: Any) -> bool:
        table = self.table()
        return bool(len(table)) and bool((table[list(values)] == pd.Series(values)).all(axis=1).any())

    def add(self, rows: Iterable[Row]) -> None:
        with self._lock, _one_at_a_time():
            table = (
                pd.concat([self.table(), pd.DataFrame(list(rows))]) if self.path.exists() else pd.DataFrame(list(rows))
            )
            table.drop_duplicates(list(self.key), keep="last").to_csv(self.path, index=False)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several measurements may run side by side, each of which reads the file and writes it anew."""
    folder = os.open(RESULTS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def in_pairs(jobs: Iterable[Callable[[], None]]) -> None:
    """Run jobs two at a time, each on one thread: on two cores that is faster than one at a time on both."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()
