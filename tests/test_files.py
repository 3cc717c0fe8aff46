from contextlib import suppress
from pathlib import Path

from dstc.files import folder_written_whole, write_text, written_whole


def test_text_is_written_as_utf_8_into_new_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b.txt", "ä\n")
    assert (tmp_path / "a/b.txt").read_bytes() == "ä\n".encode()
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with suppress(RuntimeError), written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with folder_written_whole(tmp_path / "out") as partial:
            (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_a_failed_folder_keeps_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    with suppress(RuntimeError), folder_written_whole(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]
