"""Files and folders that are written whole or not at all, whatever ends the process that writes them.

What is being written has a fixed name beside its place: `.NAME.partial`. Of several writers of one NAME one writes, the
others wait, saying so. What a killed writer left there, the next one of that name takes over; no folder is listed for it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def main_folder() -> Path:
    """The main repository, also where DVC runs a stage in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ""))


def work_folder() -> Path:
    """Where what no output holds is kept: .work/ of the main repository."""
    return main_folder() / ".work"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success it becomes `path`, on failure it disappears.

    An OSError that names no file (a full disk) or the temporary one comes out naming `path`.
    """
    partial = _beside(path, "partial")
    with _errors_name(path, partial), locked(partial, lambda: f"another process is writing {path}") as handle:
        yield partial
        os.fsync(handle)  # else a machine that goes down could keep the new name and lose the content
        partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with \\n line ends, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(text.encode())


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder to fill; on success it becomes `folder`, on failure it disappears.

    Whenever the process is killed, `folder` is the old one or the new one, whole; or, between two renames, it is missing.
    Then `.NAME.old` is the old one, whole, and the next `atomic_folder(folder)` first of all puts it back.
    """
    partial, old, lock = (_beside(folder, ending) for ending in ("partial", "old", "lock"))
    hold = locked(lock, lambda: f"another process is writing {folder}")
    with _errors_name(folder, partial, old, lock), hold:
        _tidy(folder, partial, old)  # after a kill
        try:
            partial.mkdir()
            yield partial
            if folder.is_dir():
                folder.rename(old)
            partial.rename(folder)
        finally:
            _tidy(folder, partial, old)


def _tidy(folder: Path, partial: Path, old: Path) -> None:
    """Leave nothing but `folder`, the old one if there is no new one."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    if old.exists():
        old.rename(partial)  # before it is taken apart: what is called `old` is whole
        shutil.rmtree(partial, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Make the folder, or raise the OSError that writing to it would: before hours of work instead of after."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):  # without a name, so a kill leaves nothing
            pass
    except OSError as error:
        error.filename = str(folder)
        raise


@contextmanager
def locked(path: Path, holder: Callable[[], str]) -> Iterator[int]:
    """Hold the file `path` alone: give its descriptor, the file being made or emptied; remove it at the end.

    While another process (or thread) holds it, wait, and print what `holder` says of that one. A killed process holds
    nothing: its file stays, and the next one takes it over. Whoever holds the file may rename it: then it is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open_locked(path, holder)
    try:
        os.ftruncate(handle, 0)
        yield handle
    finally:
        with suppress(OSError):  # of a folder that may not be written any more
            if _is_at(path, handle):
                path.unlink()
        fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it to loader workers that were forked meanwhile
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a living process holds the file."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _open_locked(path: Path, holder: Callable[[], str]) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # writable: NFS locks nothing else
        try:
            _wait_for(handle, holder)
        except OSError:  # a file system without locks, so nobody else holds it
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        if _is_at(path, handle):
            return handle
        os.close(handle)  # whoever held it has renamed or removed it: the file that counts is another one


def _wait_for(handle: int, holder: Callable[[], str]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(FileNotFoundError):  # which `holder` wanted to read: it has just been released
            print(f"{holder()}; waiting for it", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


@contextmanager
def _errors_name(path: Path, *hidden: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = str(error.filename or path)
        for name in hidden:
            error.filename = error.filename.replace(str(name), str(path))
        raise
