"""Being asked to stop, by SIGINT (Ctrl-C) or SIGTERM.

The first signal is answered at once, but for what must be done whole (`held_back`); a second one ends the process there and
then, by the system's own hand.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    _Asked.listening = True
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Asked.listening, _Asked.number = False, None


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
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    _Asked.number = number
    _raise_what_has_come()


def _raise_what_has_come() -> None:
    if _Asked.number is not None and not _Asked.held_back:
        raise Interrupted(_Asked.number)
