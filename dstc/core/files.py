"""Files that are written whole or not at all, whatever ends the process that writes them.

What is being written lies beside its place as `.name.xxxx.partial`, locked by its writer. A killed process leaves it
there without the lock, and whoever writes that name next takes it away.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dstc.core.errors import UserError


def work_folder() -> Path:
    """Where what no output holds is kept: .work/ of the main repository, also where DVC runs a stage in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", "")) / ".work"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success it becomes `path`, on failure it disappears.

    An OSError that names no file (a full disk) or the temporary one comes out naming `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial, handle = _locked_beside(path, _empty_file)
    try:
        yield partial
        partial.chmod(0o644)  # mkstemp's 0600 would keep the result from everyone else
        os.fsync(handle)  # else a machine that goes down could keep the new name and lose the content
        partial.replace(path)
    except OSError as error:
        _name_for_people(error, partial, path)
        raise
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with \\n line ends, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(text.encode())


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
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary sibling folder to fill; on success it replaces `folder`, on failure it disappears."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    partial, handle = _locked_beside(folder, tempfile.mkdtemp)
    try:
        yield partial
        partial.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        _name_for_people(error, partial, folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(handle)


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """As `atomic_folder`; a full disk or a missing permission is the user's to mend."""
    try:
        with atomic_folder(folder) as partial:
            yield partial
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); nothing was changed") from None


def _empty_file(**place: Any) -> str:
    handle, name = tempfile.mkstemp(**place)
    os.close(handle)
    return name


def _locked_beside(path: Path, make: Callable[..., str]) -> tuple[Path, int]:
    """A temporary file or folder beside `path`, and the handle that locks it."""
    while True:
        try:
            partial = Path(make(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        except OSError as error:
            error.filename = str(path)
            raise
        # Not there: another writer of `path` took it for a leftover in the moment before it was locked. Once more.
        with suppress(FileNotFoundError):
            handle = os.open(partial, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                partial.stat()
            except OSError as error:
                os.close(handle)
                _discard(partial)
                _name_for_people(error, partial, path)
                raise
            return partial, handle


def _discard(partial: Path) -> None:
    shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


def _name_for_people(error: OSError, partial: Path, path: Path) -> None:
    error.filename = str(error.filename or path).replace(str(partial), str(path))


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `path`; what a living one is writing is locked, and stays."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):  # another process was quicker
            handle = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _discard(leftover)
            finally:
                os.close(handle)
