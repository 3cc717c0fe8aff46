"""Worker processes: whatever happens to one comes up as one message, and nobody waits for what does not come."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dstc.core import workers
from dstc.core.errors import UserError
from dstc.core.interruption import Interrupted, listening
from dstc.core.workers import read_ahead

ROOT = Path(__file__).parents[2]


def array(position: int) -> np.ndarray:
    return np.full((300, 400), position, np.uint16)


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.fixture(autouse=True)
def _no_worker_stays() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("count", [0, 1, 3, 20])
def test_items_come_in_order_whoever_reads_them(count: int) -> None:
    found = list(read_ahead(lambda i: {"a": array(i), "b": (i, array(i)[0])}, range(5, 16), count, what="images"))
    assert [item["b"][0] for item in found] == list(range(5, 16))
    for item in found:
        np.testing.assert_array_equal(item["a"], array(item["b"][0]))
        np.testing.assert_array_equal(item["b"][1], array(item["b"][0])[0])
        item["a"] += 1  # they may be written to


def test_nothing_to_read_needs_no_worker() -> None:
    assert list(read_ahead(array, [], 2, what="images")) == []


def test_arrays_that_are_no_plain_blocks_arrive_as_they_are() -> None:
    whole = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    odd = [whole[::2, 1:], whole.transpose(2, 0, 1), np.broadcast_to(whole[0], (2, 4, 5)), whole[:0]]
    (found,) = read_ahead(lambda _: odd, [0], 1, what="images")
    for one, other in zip(found, odd, strict=True):
        np.testing.assert_array_equal(one, other)


def fail(position: int) -> int:
    if position == 3:
        raise KeyError("no such thing")
    return position


@pytest.mark.parametrize("count", [0, 2])
def test_any_error_of_a_reader_becomes_one_message_in_its_turn(count: int) -> None:
    read = read_ahead(fail, range(9), count, what="val images")
    assert [next(read) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match=r"^val images: KeyError: 'no such thing' \(.*test_workers\.py, line \d+\)"):
        next(read)


@pytest.mark.parametrize("count", [0, 2])
def test_a_users_mistake_and_a_lack_of_memory_are_told_as_such(count: int) -> None:
    def mistaken(_: int) -> None:
        raise UserError("x.png: changed since it was indexed")

    def too_large(_: int) -> None:
        raise MemoryError

    with pytest.raises(UserError, match=r"^x\.png: changed since it was indexed$"):
        next(read_ahead(mistaken, [0], count, what="images"))
    with pytest.raises(UserError, match=r"^images: not enough memory; lower runtime\.workers"):
        next(read_ahead(too_large, [0], count, what="images"))


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_of_a_file_or_of_a_full_disk_comes_as_it_is_and_others_of_the_system_with_their_place(
    count: int,
) -> None:
    def reader(error: OSError) -> Iterator[None]:
        def read(_: int) -> None:
            raise error

        return read_ahead(read, [0], count, what="images")

    with pytest.raises(FileNotFoundError, match=r"\[Errno 2\] gone: 'x\.png'"):
        next(reader(FileNotFoundError(2, "gone", "x.png")))
    with pytest.raises(OSError, match=r"^\[Errno 28\] full$"):
        next(reader(OSError(28, "full")))
    with pytest.raises(UserError, match=r"^images: OSError: \[Errno 5\] broken"):
        next(reader(OSError(5, "broken")))


def test_an_item_that_cannot_be_sent_is_told_too() -> None:
    with pytest.raises(UserError, match=r"^images: .*pickle"):
        next(read_ahead(lambda _: lambda: None, [0], 1, what="images"))


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGXCPU), "was ended by SIGXCPU"),
        (lambda: os._exit(3), "ended with status 3"),
        (lambda: sys.exit(0), "ended with status 0"),
    ],
    ids=["killed", "over a limit", "exited", "left"],
)
def test_a_worker_that_ends_is_missed(end: object, told: str) -> None:
    def read(position: int) -> int:
        if position == 3:
            end()  # type: ignore[operator]
        return position

    items = read_ahead(read, range(9), 2, what="images")
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match=rf"^images: worker process \d+ {told}; if memory ran out"):
        next(items)


def test_a_worker_that_is_killed_from_outside_in_the_midst_of_an_item_is_missed() -> None:
    items = read_ahead(lambda i: np.full(10**6, i), range(9), 1, what="images")
    next(items)
    (pid,) = children()
    time.sleep(0.1)  # it is sending the next one, which no pipe holds whole
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UserError, match="was ended by SIGKILL"):
        next(items)


@pytest.mark.parametrize("stuck_in", ["reading", "sending"])
def test_a_worker_that_is_stuck_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, stuck_in: str) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 1)

    def read(position: int) -> np.ndarray:
        if position == 1 and stuck_in == "reading":
            time.sleep(1000)
        return np.full(10**6, position)

    items = read_ahead(read, range(9), 1, what="images")
    next(items)
    (pid,) = children()
    time.sleep(0.1)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(
        UserError, match=rf"^images: worker process {pid} has sent nothing for 1 s; is the disk or network"
    ):
        next(items)


def test_a_signal_is_answered_while_an_item_is_waited_for() -> None:
    items = read_ahead(lambda _: time.sleep(1000), range(9), 2, what="images")
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with listening(), pytest.raises(Interrupted):
        next(items)
    assert time.monotonic() - began < 120  # of the 1000 that the items take


def test_a_signal_to_the_group_that_a_worker_is_about_to_leave_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = os.setpgid

    def after_a_signal(*ids: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        leave(*ids)

    monkeypatch.setattr(os, "setpgid", after_a_signal)
    assert list(read_ahead(abs, [-1, -2, -3], 2, what="numbers")) == [1, 2, 3]


def test_workers_that_cannot_be_started_are_told_with_their_limit() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"^images: runtime\.workers is 50, but no more than \d+ processes can be started here"
        ):
            list(read_ahead(array, range(99), 50, what="images"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_workers_end_when_their_main_process_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from dstc.core.workers import read_ahead\n"
        "outer = read_ahead(lambda i: bytes(10**6), range(99), 2, what='x')\n"
        "inner = read_ahead(lambda i: bytes(10**6), range(99), 2, what='x')\n"
        "next(outer), next(inner)\n"
        "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    pids = done.stdout.split()
    assert len(pids) == 4
    until = time.monotonic() + 120
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_is_needed_of_dev_shm() -> None:
    """Not even room for a semaphore."""
    code = (
        "import numpy as np\n"
        "from dstc.core.workers import read_ahead\n"
        "print(sum(int(a.sum()) for a in read_ahead(lambda i: np.full((900, 900), i), range(5), 2, what='x')))\n"
    )
    mount = "mount -t tmpfs -o size=4k,ro shm /dev/shm || exit 99"
    command = ["unshare", "-m", "sh", "-c", f'{mount}; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode == 99 or "unshare: " in done.stderr:
        pytest.skip("mounting a small /dev/shm takes root's rights in a mount namespace")
    assert done.stdout == f"{900 * 900 * 10}\n", done.stderr
