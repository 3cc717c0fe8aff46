"""Being asked to stop: Ctrl-C, SIGTERM, or the death of the dvc that started this process.

A killed dvc would otherwise leave a second writer behind. The trainer is dvc's own child because each command in dvc.yaml
begins with `exec`: dash (a container's /bin/sh) and fish would stay in between, and live on when dvc is gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dstc.core import processes


class Interruption:
    """Says why this process should save and stop, once it should."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._parent = None if _is_orphan() else os.getppid()

    def note(self, number: int, _: FrameType | None) -> None:
        self._signal = number

    @property
    def reason(self) -> str | None:
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if os.getppid() != self._parent:
            return "the end of the process that started it"
        return None

    @property
    def is_signal(self) -> bool:
        return self._signal is not None

    @property
    def exit_status(self) -> int:
        return 128 + (self._signal or signal.SIGTERM)


def _is_orphan() -> bool:
    """Whether the dvc that started this process died before it came to look: dvc's children are of dvc's own group.

    What torchrun has started is not dvc's child; its launcher is, and looks for it.
    """
    return not processes.was_launched() and "DVC_STAGE" in os.environ and os.getpgid(os.getppid()) != os.getpgrp()


@contextmanager
def watched() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM instead of dying of them at any line."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    except RuntimeError:
        if processes.count() > 1 and interruption.is_signal:  # torchrun's, for another process's end broke a connection
            raise SystemExit(interruption.exit_status) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
