"""A signal is answered wherever the main process waits, by one line and the status that shells know."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dstc.core.errors import exit_on_user_error
from dstc.core.files import locked
from dstc.core.interruption import Interrupted, held_back, listening


def told_to_stop_in(seconds: float, number: int = signal.SIGTERM) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


def sleep(_: Path) -> None:
    time.sleep(60)


def wait_for_a_lock(folder: Path) -> None:
    with locked(folder / "lock", lambda: "somebody"), locked(folder / "lock", lambda: "this one"):
        pytest.fail("two held it")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", [sleep, wait_for_a_lock])
def test_a_stage_that_waits_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait: Callable[[Path], None], number: signal.Signals
) -> None:
    began = time.monotonic()
    told_to_stop_in(0.5, number)
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        wait(tmp_path)
    assert time.monotonic() - began < 20
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {number.name}\n"


def test_what_is_held_back_is_done_whole_and_what_waits_within_it_is_not() -> None:
    done = []

    def train() -> None:
        with listening(), held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("step")
            try:
                with held_back(False):
                    done.append("waiting")
            except Interrupted:
                done.append("saving")

    with pytest.raises(Interrupted):
        train()
    assert done == ["step", "saving"]


def test_handlers_are_those_of_before_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told_to_stop_in(0.2)
    with pytest.raises(Interrupted), listening():
        time.sleep(60)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with listening(), held_back():
        pass
