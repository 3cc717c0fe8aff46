import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dstc.core.files import atomic_folder, atomic_write, write_text


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
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o644


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
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_a_failed_folder_keeps_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    with suppress(RuntimeError), atomic_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_writes_is_not(
    tmp_path: Path, folder: bool
) -> None:
    target = tmp_path / "a [1].out"
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from dstc.core.files import atomic_folder, atomic_write\n"
        f"with {'atomic_folder' if folder else 'atomic_write'}(Path({str(target)!r})):\n"
        "    print('writing', flush=True)\n"
        "    input()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    writer = subprocess.Popen([sys.executable, "-c", code], **pipes)  # type: ignore[call-overload]
    assert writer.stdout.readline() == "writing\n"
    for living in (True, False):
        if not living:
            writer.kill()
            writer.communicate()
        with atomic_folder(target) if folder else atomic_write(target):
            pass
        assert len([path for path in tmp_path.iterdir() if path.suffix == ".partial"]) == int(living)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("made_by", ["mkstemp", "mkdtemp"])
@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_what_another_writer_takes_for_a_leftover_before_it_is_locked_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: str, moment: str
) -> None:
    """Two writers of one name, and the second one looks for leftovers just then."""
    module, name = (tempfile, made_by) if moment == "before it is opened" else (fcntl, "flock")
    real, taken = getattr(module, name), []

    def interfered(*arguments: Any, **named: Any) -> Any:
        made = real(*arguments, **named)
        if not taken:
            taken.extend(tmp_path.glob(".a.*.partial"))
            assert len(taken) == 1
            shutil.rmtree(taken[0]) if taken[0].is_dir() else taken[0].unlink()
        return made

    monkeypatch.setattr(module, name, interfered)
    if made_by == "mkstemp":
        write_text(tmp_path / "a", "content")
        assert (tmp_path / "a").read_text() == "content"
    else:
        with atomic_folder(tmp_path / "a") as folder:
            (folder / "b").write_text("content")
        assert (tmp_path / "a/b").read_text() == "content"
    assert taken
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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
