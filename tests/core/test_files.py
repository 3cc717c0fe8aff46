import errno
import fcntl
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dstc.core.files import atomic_folder, atomic_write, is_locked, locked, write_text


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file can grow beyond `limit` bytes: what a full disk is like, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_text_is_written_as_utf_8_into_new_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b.txt", "ä\n")
    assert (tmp_path / "a/b.txt").read_bytes() == "ä\n".encode()


@pytest.mark.parametrize(("umask", "of_file", "of_folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_the_umask_decides_who_may_read_what_is_written(
    tmp_path: Path, umask: int, of_file: int, of_folder: int
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "")
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == of_file
    assert (tmp_path / "b").stat().st_mode & 0o777 == of_folder


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with suppress(RuntimeError), atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "out") as partial:
            (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_a_failed_folder_keeps_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    with suppress(RuntimeError), atomic_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "out", Path.rename
    write_text(target / "old", "old")

    def refuse_the_new_one(self: Path, to: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.EIO, "Input/output error", str(self), None, str(to))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(OSError, match="Input/output error") as failed, atomic_folder(target) as partial:
        (partial / "new").write_text("new")
    assert failed.value.filename == str(target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]


def test_a_file_where_a_folder_belongs_is_named_and_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "out", "in the way")
    with pytest.raises(NotADirectoryError) as refused, atomic_folder(tmp_path / "out"):
        pass
    assert refused.value.filename == str(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "in the way"


def test_files_are_written_without_listing_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else n files into one folder would take time quadratic in n."""
    with monkeypatch.context() as patch:
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, None)
        for number in range(20):
            write_text(tmp_path / f"{number % 10}.txt", str(number))
        with suppress(RuntimeError), atomic_write(tmp_path / "fails.txt"):
            raise RuntimeError
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(10, 20))


# --- several writers, and killed ones

WRITER = """
import os, signal, sys
from pathlib import Path
from dstc.core.files import atomic_folder, atomic_write
folder, target, content = sys.argv[1] == "folder", Path(sys.argv[2]), sys.argv[3]
with (atomic_folder if folder else atomic_write)(target) as partial:
    for path in (partial / "a", partial / "b") if folder else (partial,):
        path.write_text(content)
    print("written", flush=True)
    input()
"""
KILLED_AT_A_STEP = """
step = int(sys.argv[4])
def count(event, _):
    global step
    if event.startswith(("os.", "open", "fcntl.", "shutil.")):
        step -= 1
        if step == -1:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
"""
KINDS = pytest.mark.parametrize("kind", ["file", "folder"])


def writer(kind: str, target: Path, content: str, *, step: int | None = None) -> subprocess.Popen[str]:
    """A process that writes `content`, says so, and waits for a line before it ends; or is killed before that step."""
    code = WRITER if step is None else WRITER.replace("folder, target", KILLED_AT_A_STEP + "folder, target", 1)
    command = [sys.executable, "-c", code, kind, str(target), content, str(step)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def content_of(target: Path) -> str | None:
    """What one writer has written, whole; None where there is nothing."""
    if not target.exists():
        return None
    if target.is_file():
        return target.read_text()
    assert sorted(path.name for path in target.iterdir()) == ["a", "b"]
    (content,) = {path.read_text() for path in target.iterdir()}
    return content


def write_old(kind: str, target: Path) -> None:
    for path in (target / "a", target / "b") if kind == "folder" else (target,):
        write_text(path, "old")


@KINDS
def test_of_two_writers_of_one_name_the_second_waits_saying_so_and_both_write_it_whole(
    tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "a [1].out"
    write_old(kind, target)
    first = writer(kind, target, "first" * 1000)
    assert line(first) == "written\n"
    second = writer(kind, target, "second")
    assert line(second) == f"another process is writing {target}; waiting for it\n"
    assert content_of(target) == "old"
    first.communicate("\n")
    assert line(second) == "written\n"
    assert content_of(target) == "first" * 1000
    second.communicate("\n")
    assert content_of(target) == "second"
    assert (first.returncode, second.returncode) == (0, 0)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@KINDS
def test_the_second_writer_goes_on_where_the_first_one_fails(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    first = writer(kind, target, "first")
    assert line(first) == "written\n"
    second = writer(kind, target, "second")
    assert line(second).endswith("waiting for it\n")
    first.communicate("")  # the end of its input: an EOFError
    assert first.returncode == 1
    second.communicate("\n")
    assert content_of(target) == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@KINDS
def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    killed = writer(kind, target, "half" * 1000)
    assert line(killed) == "written\n"
    killed.kill()
    killed.communicate()
    assert content_of(tmp_path / ".out.partial") == "half" * 1000
    assert content_of(target) is None
    writer(kind, target, "new").communicate("\n")
    assert content_of(target) == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("deleted", [False, True], ids=["", "then deleted by dvc"])
@KINDS
def test_a_writer_killed_before_any_of_its_steps_leaves_the_old_or_the_new_one_whole_or_a_way_back(
    tmp_path: Path, kind: str, deleted: bool
) -> None:
    target, found = tmp_path / "out", set()
    for step in itertools.count():
        shutil.rmtree(tmp_path)
        write_old(kind, target)
        process = writer(kind, target, "new", step=step)
        _, errors = process.communicate("\n")
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        found.add(content_of(target))
        assert content_of(target) in ("old", "new") or content_of(tmp_path / ".out.old") == "old"
        if deleted and target.exists():
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        before = content_of(target) or content_of(tmp_path / ".out.old")
        with suppress(RuntimeError), atomic_folder(target) if kind == "folder" else atomic_write(target):
            assert content_of(target) == before
            raise RuntimeError
        assert content_of(target) == before
        assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    assert step > 5
    assert found == ({"old", "new", None} if kind == "folder" else {"old", "new"})


def test_a_lock_goes_at_its_end_though_a_forked_process_lives_on(tmp_path: Path) -> None:
    """As loader workers do; it waits for a file that is still open there."""
    target, (read, write) = tmp_path / "out", os.pipe()
    with atomic_write(target) as partial:
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the parent closes its end
            os._exit(0)
        partial.write_text("first")
        second = writer("file", target, "second")
        assert line(second).endswith("waiting for it\n")
    second.communicate("\n", timeout=60)
    assert content_of(target) == "second"
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_only_a_living_process_holds_a_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert not is_locked(tmp_path / ".out.partial")
    process = writer("file", target, "half")
    assert line(process) == "written\n"
    assert is_locked(tmp_path / ".out.partial")
    process.kill()
    process.communicate()
    assert (tmp_path / ".out.partial").read_text() == "half"
    assert not is_locked(tmp_path / ".out.partial")
    with locked(tmp_path / ".out.partial", lambda: "nobody"):
        assert (tmp_path / ".out.partial").read_text() == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_where_nothing_can_be_locked_the_error_names_the_place_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks available") as refused, write(tmp_path / "a"):
        pass
    assert refused.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_name_of_the_file_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with file_size_limit(1000), pytest.raises(OSError, match="File too large") as full:
        write_text(path, "x" * 5000)
    assert full.value.filename == str(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
