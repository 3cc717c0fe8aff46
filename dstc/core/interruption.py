"""Being asked to stop, by SIGINT (Ctrl-C) or SIGTERM.

The first signal is answered at once, but for what must be done whole (`held_back`); a second one ends the process there and
then.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST = 1.0  # seconds: what comes again so soon came by two ways, such as from a batch system and from torchrun


class Interrupted(KeyboardInterrupt):
    """A signal that asks this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name, self.exit_status = signal.Signals(number).name, 128 + number


class _Asked:
    """What has come so far: signals are the whole process's."""

    listening = False
    held_back = False
    number: int | None = None
    last_act: Callable[[], None] | None = None


def received() -> Interrupted | None:
    """The signal that has come."""
    return None if _Asked.number is None else Interrupted(_Asked.number)


@contextmanager
def listening() -> Iterator[None]:
    """Have the first signal raise Interrupted in here. Within another such block it changes nothing."""
    if _Asked.listening:
        yield
        return
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    out, into = os.pipe()
    os.set_blocking(into, False)
    signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    threading.Thread(target=_end_at_the_second, args=(out,), daemon=True).start()
    _Asked.listening = True
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(into)
        for number, handler in before.items():
            signal.signal(number, handler)
        _Asked.listening, _Asked.number = False, None


def inherit_nothing() -> None:
    """In a forked process: let signals do what the system has them do."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def before_the_end(act: Callable[[], None]) -> None:
    """What a second signal is to do first."""
    _Asked.last_act = act


@contextmanager
def held_back(held: bool = True) -> Iterator[None]:
    """Let a signal raise nothing before the end of this block. In `held_back(False)`, within one, it raises again."""
    before, _Asked.held_back = _Asked.held_back, held
    try:
        _raise_what_has_come()
        yield
    finally:
        _Asked.held_back = before
    _raise_what_has_come()


def _note(number: int, _: FrameType | None) -> None:
    if _Asked.number is None:
        _Asked.number = number
        _raise_what_has_come()


def _raise_what_has_come() -> None:
    if _Asked.number is not None and not _Asked.held_back:
        raise Interrupted(_Asked.number)


def _end_at_the_second(numbers: int) -> None:
    """End the process at its second signal, whatever its main thread is at: this one reads of each as it comes."""
    first = None
    while number := os.read(numbers, 1):
        now = time.monotonic()
        if number[0] not in SIGNALS:
            continue
        if first is not None and now - first > SAME_REQUEST:
            if _Asked.last_act:
                _Asked.last_act()
            os._exit(128 + number[0])
        first = first or now
    os.close(numbers)
