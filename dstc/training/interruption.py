"""A training that is told to stop, or cannot go on for want of data, saves its state first.

Told by SIGINT (Ctrl-C), SIGTERM, or the death of the dvc, torchrun or study that started this process, which would otherwise
leave a second writer behind. One that was typed outlives its shell. The trainer is dvc's own child because each command in
dvc.yaml begins with `exec`: dash (a container's /bin/sh) and fish would stay in between, and live on when dvc is gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dstc.core import processes
from dstc.core.interruption import Interrupted, held_back, listening, received
from dstc.core.launched import STARTED_BY, was_launched


class Interruption:
    """Says why this process should save and stop, once it should."""

    def __init__(self) -> None:
        self._follows = was_launched() or _is_followed()
        self._parent = None if _is_orphan() else os.getppid()

    @property
    def reason(self) -> str | None:
        if signal_ := received():
            return signal_.name
        if self._follows and os.getppid() != self._parent:
            return "the end of the process that started it"
        return None

    @property
    def exit_status(self) -> int:
        signal_ = received()
        return signal_.exit_status if signal_ else 128 + signal.SIGTERM

    @contextmanager
    def between_steps(self, stop: Callable[[Exception | None], None]) -> Iterator[None]:
        """In here the state is whole, so a signal is answered at once. Where there is reason to stop, or an error, `stop` is
        called with the error, in all processes.

        Of several processes each first ends what it waits for. What they do together in here must fail in all of them
        (`processes.failing_together`), or the others would wait.
        """
        problem = None
        try:
            with held_back(processes.count() > 1):
                yield
        except (Interrupted, processes.OtherProcessError):
            pass
        except Exception as error:
            problem = error
        if processes.any_of(problem is not None or self.reason is not None):
            stop(problem)


def _is_followed() -> bool:
    return any(name in os.environ for name in STARTED_BY)


def _is_orphan() -> bool:
    """Whether what started this process died before it came to look: the children of dvc and of a study are of its group.

    What torchrun has started is not dvc's child; its launcher is, and looks for it.
    """
    return not was_launched() and _is_followed() and os.getpgid(os.getppid()) != os.getpgrp()


@contextmanager
def watched() -> Iterator[Interruption]:
    """Hold signals back, but between steps."""
    with listening(), held_back():
        try:
            yield Interruption()
        except RuntimeError:
            if processes.count() > 1 and (signal_ := received()):  # another process's end broke a connection
                raise SystemExit(signal_.exit_status) from None
            raise
