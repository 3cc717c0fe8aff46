"""The first reading: decode what is going to be read, once, into the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dstc.core import processes
from dstc.core.interruption import Interrupted
from dstc.core.progress import progress
from dstc.core.workers import read_ahead
from dstc.data.cache import GIGABYTE, Cache, taken_by
from dstc.data.data_files import DataFile


def fill(cache: Cache | None, files: Iterable[DataFile], *, what: str, workers: int) -> None:
    """Put into the cache what it lacks of the files, in their order, as far as there is room.

    Says before it begins what it will take on disk. A process asks but once for a file: what had no room then is decoded at
    every reading. Stopped at any point, it goes on from there the next time. `workers` processes decode (0: this one).
    Of several processes on a machine the first one decodes, while the others wait; also those without a cache, since
    another machine may have one.
    """
    processes.first_here(lambda: _fill(cache, files, what, workers))


def _fill(cache: Cache | None, files: Iterable[DataFile], what: str, workers: int) -> None:
    if cache is None:
        return
    asked_first = {file.key: file for file in files if file.key not in cache.in_use}
    cache.in_use.update(asked_first)
    if not _lacking(cache, asked_first.values()):
        return
    with cache.filled_alone():
        chosen = _that_fit(cache, _lacking(cache, asked_first.values()), what)
        if chosen:
            _decode(cache, chosen, what, workers)


def _lacking(cache: Cache, files: Iterable[DataFile]) -> list[DataFile]:
    return [file for file in files if not cache.holds(file)]


def _that_fit(cache: Cache, lacking: Sequence[DataFile], what: str) -> list[DataFile]:
    """The first files that there is room for; says what they will take, and what stays outside."""
    room, chosen = cache.make_room(sum(map(taken_by, lacking))), []
    for file in lacking:
        room -= taken_by(file)
        if room < 0:
            break
        chosen.append(file)
    rest = lacking[len(chosen) :]
    if chosen:
        print(f"cache: {what}: {len(chosen)} files, {_size(chosen)}, decoded once into {cache.folder}", flush=True)
    if rest:
        print(
            f"cache: {what}: no room for {len(rest)} files, {_size(rest)}, which are decoded at every reading; raise "
            "runtime.cache_gigabytes, or name a larger disk in runtime.cache",
            flush=True,
        )
    return chosen


def _size(files: Iterable[DataFile]) -> str:
    gigabytes = sum(map(taken_by, files)) / GIGABYTE
    return f"{gigabytes:.2f} GB" if gigabytes >= 0.1 else f"{1000 * gigabytes:.1f} MB"


def _decode(cache: Cache, files: Sequence[DataFile], what: str, workers: int) -> None:
    def write(file: DataFile) -> str | None:
        try:
            cache.write(file)
        except OSError as error:  # a disk that others have filled meanwhile
            return error.strerror or str(error)
        return None

    try:
        with progress(total=len(files), desc=f"decoding {what}", unit="file") as bar:
            for refusal in read_ahead(write, files, workers, what=f"decoding {what}"):
                if refusal:
                    print(
                        f"cache: {cache.folder} takes no more ({refusal}); the rest is decoded at every reading",
                        flush=True,
                    )
                    return
                bar.update()
    except Interrupted:
        print("cache: what is decoded stays, and the same command goes on from there", flush=True)
        raise
