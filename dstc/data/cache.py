"""Decoded images and labels on disk, so that a training maps them into memory and cuts its crops, instead of decoding.

One file an array, named by `DataFile.key`: by the digest of the image file's bytes and all else that decides the array. So
nothing in here is ever out of date, and what several domains, splits and experiments share is kept once. A file is written
beside its place and renamed, so there is no half-written one, and any number of processes may write at once. Each array
carries the stamp of the data file whose bytes were last found to have that digest; while that file's stamp is the same,
its bytes need not be read to know that it has not changed.

The cache changes no result: what it does not hold is decoded.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from dstc.core.errors import UserError
from dstc.core.files import atomic_write, work_folder
from dstc.data.data_files import DataFile, Stamp

GIGABYTE = 10**9
LEFT_FREE = 0.1  # of what the disk has left for it and others; of the whole disk, a well filled one would never do

_HEX = "[0-9a-f]"
_ARRAYS = f"{_HEX * 2}/{_HEX * 32}"  # what `Cache._path` gives: whoever names a folder may keep other files in it
_LEFTOVERS = f"{_HEX * 2}/.{_HEX * 32}.partial"
_MAGIC = b"dstc-u8\x01"
_MARK = struct.Struct("<8s3q")  # magic, stamp
_ARRAY_AT = 64  # bytes from the file's beginning


@dataclass(frozen=True)
class Cache:
    """The arrays below one folder, at most `limit` bytes of them."""

    folder: Path
    limit: int
    in_use: set[str] = field(default_factory=set)  # keys that this process reads, and so does not remove

    def read(self, file: DataFile) -> np.ndarray | None:
        """The array of a data file, read-only and mapped into memory, or None where it is not held.

        Raises UserError where the data file is not the one that was indexed.
        """
        content = self._map(file)
        if content is None:
            return None
        if content[: _MARK.size] != _MARK.pack(_MAGIC, *file.stamp()):
            _, stamp = file.content()  # raises if it has changed
            self._mark_anew(file, stamp)
        return np.frombuffer(content, np.uint8, offset=_ARRAY_AT).reshape(file.shape)

    def write(self, file: DataFile) -> None:
        """Decode a data file and hold its array."""
        content, stamp = file.content()
        array = np.ascontiguousarray(file.decode(content))
        with atomic_write(self._path(file)) as partial, partial.open("wb") as stream:
            stream.write(_mark(stamp).ljust(_ARRAY_AT, b"\0"))
            stream.write(array.data)
            stream.flush()
            os.fsync(stream.fileno())  # before it gets its name: not even a power cut leaves a half-written one there

    def holds(self, file: DataFile) -> bool:
        return self._path(file).exists()

    def _map(self, file: DataFile) -> mmap.mmap | None:
        try:
            with self._path(file).open("rb", buffering=0) as stream:
                content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # not there; ValueError: empty
            return None
        return content if len(content) == taken_by(file) and content[: len(_MAGIC)] == _MAGIC else None

    def _mark_anew(self, file: DataFile, stamp: Stamp) -> None:
        # In place: were it torn or lost, it would match no file, and cost another reading of the bytes.
        with contextlib.suppress(OSError), self._path(file).open("r+b", buffering=0) as stream:
            stream.write(_mark(stamp))

    def make_room(self, wanted: int) -> int:
        """How many bytes may be added, for who fills alone. To come to the `wanted` ones, arrays that are not in use are
        removed, the oldest first; and what a kill left behind in any case."""
        for leftover in self.folder.glob(_LEFTOVERS):
            leftover.unlink(missing_ok=True)
        held = sorted((status.st_mtime_ns, status.st_size, path) for path, status in self._files())
        used = sum(size for _, size, _ in held)
        available = used + shutil.disk_usage(self.folder).free
        limit = min(self.limit, int((1 - LEFT_FREE) * available))
        for _, size, path in held:
            if used + wanted <= limit:
                break
            if path.name not in self.in_use and _is_array(path):
                path.unlink(missing_ok=True)
                used -= size
        return max(0, limit - used)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob(_ARRAYS):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    @contextlib.contextmanager
    def filled_alone(self) -> Iterator[None]:
        """Hold the right to fill; wait, saying so, while another process does: it is likely to bring what is wanted."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
            if not _locked_at_once(lock):
                print(f"cache: another process is filling {self.folder}; waiting for it", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # of a file system without locks, too: nothing could be written there
            raise UserError(
                f"runtime.cache: {self.folder} cannot be written ({error.strerror}); name another folder, or 'none'"
            ) from None
        with lock:
            yield

    def _path(self, file: DataFile) -> Path:
        return self.folder / file.key[:2] / file.key


def open_cache(place: str, gigabytes: float) -> Cache | None:
    """The cache that `runtime.cache` and `runtime.cache_gigabytes` ask for. It is made when something is put into it."""
    if place == "none":
        return None
    return Cache(work_folder() / "cache" if place == "auto" else Path(place), int(gigabytes * GIGABYTE))


def array_of(file: DataFile, cache: Cache | None) -> np.ndarray:
    """The array of a data file, read-only: from the cache, or decoded."""
    array = cache.read(file) if cache else None
    return file.decode(file.content()[0]) if array is None else array


def taken_by(file: DataFile) -> int:
    """The bytes that the array of a data file takes on disk."""
    return _ARRAY_AT + math.prod(file.shape)


def _is_array(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC
    return False


def _locked_at_once(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark(stamp: Stamp) -> bytes:
    """What a file begins with: the stamp, or zeros for one that a change could leave as it is, so that none matches."""
    return _MARK.pack(_MAGIC, *(stamp if stamp.is_settled else (0, 0, 0)))
