import json
import re
from pathlib import Path

import pytest

from dstc.core import places
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex, Entry, digest, load_index, read_split, root_folders, save_index
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE

ENTRIES = (
    Entry("a ä.png", "0" * 16, 20, 10, "l/a.png", "1" * 16, (3, 4)),
    Entry("b.png", "2" * 16, 20, 10),
    Entry("b.png", "3" * 16, 20, 10, root=1),
)


def index(**changes: object) -> DomainIndex:
    known: dict[str, object] = {
        "domain": "source",
        "class_names": ("road", "rail"),
        "class_colors": ((1, 2, 3), (4, 5, 6)),
        "label_ids": {-1: IGNORE, 7: 0},
        "entries": ENTRIES,
    }
    return DomainIndex(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "saved",
    [index(), index(resize=(64, 32)), index(label_ids={}, label_colors={"#0a0b0c": 1}), index(entries=())],
)
def test_a_saved_index_loads_equal(tmp_path: Path, saved: DomainIndex) -> None:
    save_index(saved, tmp_path / "data/index.json")
    assert load_index(tmp_path / "data/index.json") == saved


def test_the_file_has_a_line_for_each_image(tmp_path: Path) -> None:
    save_index(index(), tmp_path / "index.json")
    assert sum(line.startswith('  {"image"') for line in (tmp_path / "index.json").read_text().splitlines()) == 3


def test_names_are_unique_among_several_folders() -> None:
    assert [entry.name for entry in ENTRIES] == ["a ä.png", "b.png", "unlabeled[0]/b.png"]


def test_an_index_is_cut_down_to_names_in_their_order() -> None:
    assert index().named(["unlabeled[0]/b.png", "a ä.png"]).entries == (ENTRIES[2], ENTRIES[0])


def test_known_classes_come_back_with_their_subsets_and_own_ones_as_they_are() -> None:
    assert index(class_names=CITYSCAPES_19.names, class_colors=CITYSCAPES_19.colors).classes is CITYSCAPES_19
    assert index().classes.names == ("road", "rail")
    assert len(index()) == 3


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"entries": [{"picture": "a"}]}', "\xff"])
def test_a_file_that_is_no_index_names_the_stage_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"not an index of this version .*dvc repro -f prepare_data"):
        load_index(tmp_path / "index.json")


@pytest.mark.parametrize("width", [0, -5, "5"])
def test_an_image_of_no_size_is_none(tmp_path: Path, width: object) -> None:
    save_index(index(), tmp_path / "index.json")
    text = (tmp_path / "index.json").read_text()
    (tmp_path / "index.json").write_text(re.sub(r'"width": \d+', f'"width": {json.dumps(width)}', text))
    with pytest.raises(UserError, match=r"not an index of this version .*dvc repro -f prepare_data"):
        load_index(tmp_path / "index.json")


def test_a_missing_index_or_split_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such index; run `dvc repro prepare_data` first"):
        load_index(tmp_path / "index.json")
    with pytest.raises(UserError, match=r"labeled\.txt: no such file; run `dvc repro make_split` first"):
        read_split(tmp_path)


def test_root_folders_are_the_worlds_half_or_the_given_ones() -> None:
    assert root_folders("embedded", "gta5") == (Path("data/world/gta5"),)
    assert root_folders("/data/cs", "cityscapes", ["/a", "/b"]) == (Path("/data/cs"), Path("/a"), Path("/b"))
    assert root_folders("embedded", "gta5")[0].parent == places.WORLD


def test_a_digest_tells_contents_apart() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert len(digest(b"a")) == 16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label_ids": {-1: IGNORE, 9: 1, 7: 0, 8: 1}}, [7, 9]),  # the first that is named for a class
        ({"label_ids": {7: 0}}, None),
        ({"label_ids": {}, "label_colors": {"#0a0b0c": 1}}, None),
    ],
)
def test_each_class_has_the_first_id_that_means_it_or_else_there_are_none(
    tmp_path: Path, changes: dict[str, object], expected: list[int] | None
) -> None:
    save_index(index(**changes), tmp_path / "index.json")
    assert load_index(tmp_path / "index.json").label_id_of_class() == expected
