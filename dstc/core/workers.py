"""Worker processes that read ahead, and send what they read through a pipe each.

Not torch's DataLoader: it passes tensors through /dev/shm (64 MB in docker), waits without end for what did not fit there,
and raises at any line of a training when a worker dies. A pipe takes no room, and closes when its worker dies.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import select
import signal
import struct
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, TypeVar

from dstc.core.errors import UserError, names_its_cause
from dstc.core.interruption import SIGNALS, inherit_nothing

Position = TypeVar("Position")
Item = TypeVar("Item")

PATIENCE = 120  # seconds without a byte of a worker that owes an item
_NUMBER = struct.Struct("<q")


def read_ahead(
    read: Callable[[Position], Item], positions: Sequence[Position], workers: int, *, what: str
) -> Iterator[Item]:
    """What `read` gives for each of the positions, in order, read by `workers` processes (0: by this one).

    Each worker is an item ahead. One that ends, that is stuck, or in which `read` fails comes up as a UserError that names
    `what` was to be read, or as the OSError that names its cause. Arrays may be written to.
    """
    if workers == 0:
        for position in positions:
            yield _attempted(read, position, what)
        return
    team: list[_Worker] = []
    count = min(workers, len(positions))
    try:
        for number in range(count):
            team.append(_started(partial(_work, read, positions[number::count], what), what, number, workers))
        for number in range(len(positions)):
            item = team[number % count].next()
            if isinstance(item, (UserError, OSError)):
                raise item
            yield item
    finally:
        for worker in team:
            worker.end()


def _attempted(read: Callable[[Position], Item], position: Position, what: str) -> Item:
    try:
        return read(position)
    except MemoryError:
        raise UserError(f"{what}: not enough memory; lower runtime.workers, batch, crop or data.*.resize") from None
    except Exception as error:
        if isinstance(error, UserError) or (isinstance(error, OSError) and names_its_cause(error)):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{what}: {type(error).__name__}: {error} ({place.filename}, line {place.lineno}); if the files and their disk "
            "are sound, this is a bug"
        ) from error


# --- in the main process


class _Worker:
    """A process, and the end of its pipe that its items come out of."""

    def __init__(self, work: Callable[[BinaryIO], None], what: str) -> None:
        self.what = what
        self.pipe, into = os.pipe()
        with suppress(OSError):  # so that a batch is not handed over in a hundred pieces, where the system allows
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 2**20)
        self.poll = select.poll()
        self.poll.register(self.pipe, select.POLLIN)
        # Forked, as torch's DataLoader does: that takes no time, and `work` need not be pickled.
        fork = multiprocessing.get_context("fork")
        self.process = fork.Process(target=_live, args=(work, self.pipe, into), daemon=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the worker has handlers of its own
        try:
            self.process.start()
        except OSError:
            os.close(self.pipe)
            raise
        finally:
            os.close(into)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def next(self) -> Any:
        """The next item, or the UserError that came instead of it."""
        sizes = [self._number() for _ in range(self._number())]
        pickled, *arrays = [self._bytes(size) for size in sizes]
        return pickle.loads(pickled, buffers=arrays)

    def end(self) -> None:
        os.close(self.pipe)
        self.process.kill()  # whatever it is at may be cut short
        self.process.join(1)

    def _number(self) -> int:
        (number,) = _NUMBER.unpack(self._bytes(_NUMBER.size))
        return number

    def _bytes(self, size: int) -> bytearray:
        content = bytearray(size)
        rest = memoryview(content)
        while rest:
            self._wait()
            got = os.readv(self.pipe, [rest])
            if got == 0:
                raise self._death()
            rest = rest[got:]
        return content

    def _wait(self) -> None:
        # Seconds are counted, not read off a clock: all processes may have been suspended for hours.
        if not any(self.poll.poll(1000) for _ in range(PATIENCE)):
            raise UserError(
                f"{self.what}: worker process {self.process.pid} has sent nothing for {PATIENCE} s; is the disk or network "
                "at work that the images lie on? With runtime.workers: 0 none is waited for"
            )

    def _death(self) -> UserError:
        self.process.join(1)
        code = self.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return UserError(
            f"{self.what}: worker process {self.process.pid} {how}; if memory ran out (dmesg says so), lower "
            "runtime.workers, batch or crop"
        )


def _started(work: Callable[[BinaryIO], None], what: str, number: int, workers: int) -> _Worker:
    try:
        return _Worker(work, what)
    except OSError as error:
        raise UserError(
            f"{what}: runtime.workers is {workers}, but no more than {number} processes can be started here "
            f"({error.strerror}); lower it, or raise the limit on processes or open files (ulimit, docker --pids-limit)"
        ) from None


# --- in a worker


def _live(work: Callable[[BinaryIO], None], other_end: int, pipe: int) -> None:
    """A worker, until all is sent or nobody reads any more."""
    os.setpgid(0, 0)  # Ctrl-C, and a SIGTERM to the group, are for the main process to answer, which needs its workers
    for number in SIGNALS:  # forgets one that came to the group before it was left; that would end the worker below
        signal.signal(number, signal.SIG_IGN)
    inherit_nothing()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.close(other_end)
    with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as stream:
        work(stream)


def _work(read: Callable[[Position], Item], positions: Sequence[Position], what: str, stream: BinaryIO) -> None:
    def packed(position: Position) -> list[bytes | memoryview]:
        return _packed(read(position))

    for position in positions:
        try:
            parts = _attempted(packed, position, what)
        except (UserError, OSError) as error:
            parts = _packed(error)
        stream.writelines(parts)
        stream.flush()


def _packed(item: object) -> list[bytes | memoryview]:
    """The item pickled, and its arrays beside it as they are, behind the number and the sizes of these parts."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(item, protocol=5, buffer_callback=arrays.append)
    parts: list[bytes | memoryview] = [pickled, *(array.raw() for array in arrays)]
    sizes = [len(parts), *map(len, parts)]
    return [b"".join(map(_NUMBER.pack, sizes)), *parts]
