from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstc.core.errors import UserError
from dstc.core.index import read_split
from dstc.core.randomness import generator
from dstc.split import choose_labeled, read_labeled, write_split

NAMES = [f"town/{i:03d}.png" for i in range(50)]
LABELED = [
    "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
    "leftImg8bit/train/bremen/bremen_000001_000019_leftImg8bit.png",
    "train/images/day/001.jpg",
    "train/images/night/001.jpg",
]
UNLABELED = ["unlabeled[0]/more.png"]


def drawn(count: int, seed: int = 0, names: list[str] = NAMES) -> tuple[list[str], list[str]]:
    return choose_labeled(names, count, generator=generator(seed, "split"))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_splits_of_one_seed_are_nested_and_split_the_names(small: int, large: int, seed: int) -> None:
    small, large = sorted((small, large))
    labeled, unlabeled = drawn(large, seed)
    assert drawn(small, seed)[0] == labeled[:small]
    assert not set(labeled) & set(unlabeled)
    assert sorted(labeled + unlabeled) == NAMES
    assert unlabeled == sorted(unlabeled)


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_the_names() -> None:
    assert drawn(10) == drawn(10, names=NAMES[::-1])
    assert drawn(10) != drawn(10, seed=1)


def test_the_whole_set_can_be_labeled_and_more_is_refused() -> None:
    assert drawn(50)[1] == []
    with pytest.raises(UserError, match=r"split\.size is 51, but only 50 target train images have labels"):
        drawn(51)


def listed(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "mine.txt").write_text(text)
    return read_labeled(tmp_path, "mine.txt", LABELED, UNLABELED)


@pytest.mark.parametrize(
    "line",
    [
        "aachen_000000_000019",
        "aachen_000000_000019.png",
        "aachen/aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        "/data/cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png "
        "gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png",
        "aachen/aachen_000000_000019_leftImg8bit.png,gtFine/aachen_000000_000019_gtFine_labelIds.png",
        "train_aachen_000000_000019",
    ],
)
def test_a_name_may_lack_folders_and_ending_or_have_more_folders(tmp_path: Path, line: str) -> None:
    assert listed(tmp_path, f"# my choice\n\n  {line} \n") == [LABELED[0]]


@pytest.mark.parametrize(
    "line", ["tag\\fu\u0308nf.jpg", "images/tag/f\u00fcnf", "C:\\x\\train\\images\\tag\\f\u00fcnf.jpg"]
)
def test_lines_written_on_windows_or_a_mac_mean_the_same_image(tmp_path: Path, line: str) -> None:
    name = "train/images/tag/fu\u0308nf.jpg"  # as a Mac spells it
    (tmp_path / "list.txt").write_bytes(f"\ufeff{line}\r\n".encode())
    found = read_labeled(tmp_path, "list.txt", [name, *LABELED], [])
    assert found == [name]


def test_a_name_that_means_an_image_as_it_stands_is_read_in_no_other_way(tmp_path: Path) -> None:
    names = ["images/a b.png", "images/a.png", "images/train_7.png", "images/7.png"]
    (tmp_path / "mine.txt").write_text("a b.png\ntrain_7\n")
    assert read_labeled(tmp_path, "mine.txt", names, []) == ["images/a b.png", "images/train_7.png"]


def test_names_keep_the_order_of_the_file(tmp_path: Path) -> None:
    assert listed(tmp_path, "night/001\nbremen_000001_000019\n") == [LABELED[3], LABELED[1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine\.txt: names no image; write one name a line"),
        ("# only this\n", "names no image"),
        (
            "\naachen_00000_000019",
            r"mine\.txt:2: 'aachen_00000_000019' is no target .*did you mean 'aachen_000000_000019'",
        ),
        ("001", "'001' could mean train/images/day/001.jpg, train/images/night/001.jpg; write more of its path"),
        ("dusk/001", "'dusk/001' is no target train image, only: train/images/day/001.jpg"),
        ("more", "'more' has no label"),
        ("001 002", "'001 002' is no target train image"),
        ("aachen_000000_00019.png a.png", "is no target train image; did you mean 'aachen_000000_000019'"),
        ("aachen_000000_000019\naachen/aachen_000000_000019", "aachen_000000_000019_leftImg8bit.png is named 2 times"),
    ],
)
def test_a_split_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        listed(tmp_path, text)


def test_all_faults_of_a_split_file_are_listed_together(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        listed(tmp_path, "one\ntwo\nmore\n")
    assert len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize("file", ["../mine.txt", "/etc/hostname", "", "linked.txt"])
def test_a_split_file_outside_its_folder_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "outside.txt").write_text("001")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/linked.txt").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(UserError, match=r"split\.file: .*must be a file inside the folder"):
        read_labeled(tmp_path / "splits", file, LABELED, UNLABELED)


def test_a_missing_split_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("001")
    with pytest.raises(UserError, match=r"split\.file: .*mien\.txt cannot be read .*did you mean 'mine\.txt'"):
        read_labeled(tmp_path, "mien.txt", LABELED, UNLABELED)


def test_a_written_split_reads_back_and_replaces_the_old_one(tmp_path: Path) -> None:
    write_split(tmp_path / "split", ["b"], ["a", "c d"])
    write_split(tmp_path / "split", ["b", "ä"], [])
    assert read_split(tmp_path / "split") == (["b", "ä"], [])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["labeled.txt", "split", "unlabeled.txt"]


def test_a_split_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(FileExistsError) as refused:
        write_split(tmp_path / "data/split", ["a"], [])
    assert refused.value.filename == str(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
