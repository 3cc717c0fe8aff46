import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.samples import read_pair
from dstc.preparation.indexing import Domain, index_domains
from dstc.preparation.label_rules import label_rules, task_classes
from dstc.preparation.problems import SHOWN
from dstc.preparation.summary import summary_table
from tests.preparation import trees

Three = tuple[Domain, Domain, Domain]


@pytest.fixture
def domains(tmp_path: Path) -> Three:
    """Six GTA5 images; five target train images of which three have labels; two val images."""
    source_root, target_root = trees.gta5(tmp_path / "gta5", 6), trees.cityscapes(tmp_path / "cs", 5, labeled=3)
    source = Domain(
        "source",
        "paths.source",
        "gta5",
        "train",
        (source_root,),
        CITYSCAPES_19,
        label_rules("gta5", CITYSCAPES_19, {}, []),
        True,
    )
    train = replace(
        source,
        name="target_train",
        parameter="paths.target",
        layout="cityscapes",
        folders=(target_root,),
        labels_required=False,
    )
    return source, train, replace(train, name="target_val", split="val", labels_required=True)


def test_the_three_domains_are_indexed_sorted_and_in_order(domains: Three) -> None:
    source, train, val = index_domains(*domains, workers=0).indexes
    assert [index.domain for index in (source, train, val)] == ["source", "target_train", "target_val"]
    assert [entry.name for entry in source.entries] == [f"images/{i:05d}.png" for i in range(1, 7)]
    assert (len(train), sum(entry.label is not None for entry in train.entries), len(val)) == (5, 3, 2)


def test_two_workers_make_the_same_indexes_as_none(domains: Three) -> None:
    assert index_domains(*domains, workers=2) == index_domains(*domains, workers=0)


def test_problems_of_all_domains_are_listed_together(domains: Three) -> None:
    source_root, target_root = domains[0].folders[0], domains[1].folders[0]
    trees.write(source_root / "labels/00002.png", fill=99)
    (source_root / "labels/00005.png").unlink()
    shutil.rmtree(target_root / "gtFine/val")
    with pytest.raises(UserError) as refused:
        index_domains(*domains, workers=0)
    heading, *lines = str(refused.value).splitlines()
    assert heading == "4 problems in the data; nothing was written:"
    assert lines[0].startswith(f"{source_root}/labels/00002.png: unknown label id 99 (known are")
    assert lines[1] == f"{source_root}/images/00005.png and 2 more files: has no label (expected is labels/00005.png)"
    assert len(lines) == 2


def test_the_list_of_problems_is_cut_with_a_count(domains: Three) -> None:
    root = trees.gta5(domains[0].folders[0], SHOWN + 3)
    for width, path in enumerate((root / "labels").iterdir(), start=20):
        trees.write(path, size=(width, 8), fill=trees.ROAD)
    with pytest.raises(UserError) as refused:
        index_domains(*domains, workers=0)
    lines = str(refused.value).splitlines()
    assert len(lines) == SHOWN + 2
    assert lines[-1] == "... and 3 more"


def test_missing_folders_are_told_by_their_parameters_once_and_before_any_file_is_read(domains: Three) -> None:
    source, train, val = domains
    (source.folders[0] / "images/00001.png").write_bytes(b"not read")
    gone = (val.folders[0] / "gone",)
    with pytest.raises(UserError) as refused:
        index_domains(
            source, replace(train, folders=(*gone, Path("/none"))), replace(val, split="train", folders=gone), workers=0
        )
    assert str(refused.value).splitlines()[1:] == [
        f"paths.target: {gone[0]}: no such folder",
        "paths.unlabeled[0]: /none: no such folder",
    ]


def test_images_of_unlabeled_folders_join_target_train_without_labels_and_with_their_own_names(
    domains: Three, tmp_path: Path
) -> None:
    trees.write_photo(tmp_path / "more/a.png")
    trees.write_photo(tmp_path / "even_more/a.png", size=(5, 4))
    source, train, val = domains
    folders = (*train.folders, tmp_path / "more", tmp_path / "even_more")
    _, index, _ = index_domains(source, replace(train, folders=folders), val, workers=0).indexes
    assert [(entry.name, entry.root, entry.label) for entry in index.entries[-2:]] == [
        ("unlabeled[0]/a.png", 1, None),
        ("unlabeled[1]/a.png", 2, None),
    ]


def test_held_out_images_are_left_out_always_the_same_and_nested(domains: Three) -> None:
    source, *target = domains
    kept = []
    for held_out in (0, 2, 4):
        index = index_domains(replace(source, held_out=held_out), *target, workers=0).indexes[0]
        kept.append([entry.name for entry in index.entries])
    assert [len(names) for names in kept] == [6, 4, 2]
    assert kept[1] == sorted(kept[1])
    assert set(kept[2]) < set(kept[1]) < set(kept[0])


def test_holding_out_all_images_is_refused(domains: Three) -> None:
    with pytest.raises(UserError, match=r"paths\.source: .*holds 6 images; data\.source\.held_out: 6 would leave none"):
        index_domains(replace(domains[0], held_out=6), *domains[1:], workers=0)


def test_val_images_that_are_copies_of_train_images_are_noted_with_their_count(domains: Three) -> None:
    root = domains[1].folders[0]
    images = "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    shutil.copy(root / images, root / "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png")
    shutil.copy(root / images, root / "leftImg8bit/train/aachen/aachen_000002_000019_leftImg8bit.png")
    notes = index_domains(*domains, workers=0).notes
    assert notes[0].startswith("1 of 2 val images are, byte for byte, train images too")
    assert notes[1].startswith("1 target train images are copies")


def test_one_list_as_train_and_val_is_refused(domains: Three) -> None:
    source, train, val = domains
    with pytest.raises(UserError, match=r"is in both data\.target\.train and data\.target\.val"):
        index_domains(source, replace(train, split="val"), val, workers=0)


def test_nearly_fitting_gta5_labels_and_void_labels_are_noted(domains: Three) -> None:
    source, *target = domains
    trees.write_photo(source.folders[0] / "images/00001.png", size=(191, 120))
    trees.write(source.folders[0] / "labels/00001.png", size=(191, 119), fill=trees.ROAD)
    trees.write(source.folders[0] / "labels/00004.png", fill=trees.LICENSE_PLATE)
    notes = index_domains(replace(source, resize=(64, 32)), *target, workers=0).notes
    assert notes == (
        "source: 1 labels differ from their image's size by less than 1 % of the aspect; accepted",
        "source: 1 labels are void throughout, the first that of images/00004.png",
    )


def test_gta5_images_and_labels_of_1914x1052_and_1914x1046_side_by_side_are_brought_to_one_size(domains: Three) -> None:
    source, *target = domains
    folder, usual, odd = source.folders[0], (1914, 1052), (1914, 1046)
    for number, size, label_size in ((1, usual, usual), (2, odd, odd), (3, usual, odd)):
        trees.write(folder / f"images/{number:05d}.png", size=size, fill=number)
        ids = np.full(label_size[::-1], trees.ROAD, np.uint8)
        ids[:, label_size[0] // 2 :] = trees.SKY
        trees.write(folder / f"labels/{number:05d}.png", ids)
    found = index_domains(replace(source, resize=(1280, 720)), *target, workers=0)
    index = found.indexes[0]
    assert [(entry.width, entry.height) for entry in index.entries[:3]] == [usual, odd, usual]
    assert found.notes == ("source: 1 labels differ from their image's size by less than 1 % of the aspect; accepted",)
    for entry in index.entries[:3]:
        image, label = read_pair(entry, index, source.folders)
        assert label is not None
        assert (image.shape, label.shape) == ((720, 1280, 3), (720, 1280))
        assert (label[:, :640] == 0).all()
        assert (label[:, 640:] == 10).all()


def test_the_summary_tells_counts_sizes_rarest_and_absent_classes(domains: Three) -> None:
    trees.write_photo(domains[1].folders[0] / "leftImg8bit/train/bremen/x_leftImg8bit.png", size=(20, 10))
    lines = summary_table(index_domains(*domains, workers=0).indexes).splitlines()
    assert lines[0].split()[:4] == ["domain", "images", "labeled", "sizes"]
    assert lines[1].split()[:4] == ["source", "6", "6", "12x8"]
    assert lines[1].endswith("road 50 %, sky 50 %")
    assert "12x8 (5), 20x10 (1)" in lines[2]
    assert lines[2].endswith("car 100 %")
    assert lines[4].startswith("source has no pixel of: sidewalk, building")


def palette_label(path: Path, size: tuple[int, int] = (12, 8), **colors: tuple[int, int, int]) -> None:
    """A label of road and sky, side by side, in these colors."""
    ids = np.full(size[::-1], trees.ROAD, np.uint8)
    ids[:, size[0] // 2 :] = trees.SKY
    label, palette = Image.fromarray(ids).convert("P"), np.zeros((256, 3), np.uint8)
    label.putdata(ids.ravel().tolist())
    palette[trees.ROAD], palette[trees.SKY], palette[99] = (
        colors["road"],
        colors["sky"],
        colors.get("unused", (0, 0, 0)),
    )
    label.putpalette(palette.ravel().tolist())
    label.save(path)


USUAL = {"road": (128, 64, 128), "sky": (70, 130, 180)}


@pytest.mark.parametrize("workers", [0, 2])
def test_palettes_that_give_an_id_two_colors_are_refused_with_both_files(domains: Three, workers: int) -> None:
    folder = domains[0].folders[0] / "labels"
    for number in range(1, 7):
        palette_label(folder / f"{number:05d}.png", **USUAL)
    palette_label(folder / "00004.png", road=USUAL["sky"], sky=USUAL["road"])
    with pytest.raises(UserError) as refused:
        index_domains(*domains, workers=workers)
    assert str(refused.value) == (
        f"{folder}/00004.png: its palette gives an id another color than that of another label does (id 7 is #4682b4, but "
        f"#804080 in {folder}/00001.png), so ids have no fixed meaning; store the labels as gray ids"
    )


def test_palettes_may_differ_in_ids_that_do_not_occur(domains: Three) -> None:
    folder = domains[0].folders[0] / "labels"
    for number in range(1, 7):
        palette_label(folder / f"{number:05d}.png", **USUAL, unused=(number, 0, 0))
    assert len(index_domains(*domains, workers=0).indexes[0]) == 6


def test_palettes_of_target_train_and_val_must_agree_and_those_of_the_source_are_only_noted(domains: Three) -> None:
    source, train, _ = domains
    for path in (source.folders[0] / "labels").iterdir():
        palette_label(path, road=(1, 1, 1), sky=USUAL["sky"])
    labels = sorted((train.folders[0] / "gtFine").rglob("*_labelIds.png"))
    for path in labels:
        palette_label(path, **USUAL)
    notes = index_domains(*domains, workers=0).notes
    assert "label id 7 is #010101 in the source's palettes and #804080 in the target's; if it means" in "\n".join(notes)
    palette_label(next(path for path in labels if "/val/" in str(path)), road=USUAL["sky"], sky=USUAL["road"])
    with pytest.raises(UserError, match=r"gtFine/val/.*its palette gives an id another color"):
        index_domains(*domains, workers=0)


def test_palettes_that_differ_are_no_problem_where_labels_are_read_by_their_colors(domains: Three) -> None:
    classes = task_classes("own", ["road", "sky"], {})
    rules = label_rules("folders", classes, {"road": ["#804080"], "sky": ["#4682b4"]}, [])
    folder = domains[0].folders[0]
    for path in (*(folder / "labels").iterdir(), *domains[1].folders[0].rglob("*_labelIds.png")):
        palette_label(path, **USUAL)
    palette_label(folder / "labels/00002.png", road=USUAL["sky"], sky=USUAL["road"])
    index = index_domains(*(replace(one, classes=classes, labels=rules) for one in domains), workers=0).indexes[0]
    (_, usual), (_, swapped) = (read_pair(entry, index, [folder]) for entry in index.entries[:2])
    assert usual is not None and swapped is not None
    assert usual.tolist() == [[0] * 6 + [1] * 6] * 8
    assert swapped.tolist() == [[1] * 6 + [0] * 6] * 8


def test_labeled_photos_that_exif_turns_are_noted_and_read_alike_in_training(domains: Three) -> None:
    folder = domains[0].folders[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(photo).save(folder / "images/00001.png", exif=exif)
    found = index_domains(*domains, workers=0)
    assert found.notes[0].startswith(
        "source: 1 labeled images are turned by their EXIF orientation, such as images/00001.png"
    )
    index = found.indexes[0]
    image, label = read_pair(index.entries[0], index, [folder])
    assert image.tolist() == np.rot90(photo, -1).tolist()
    assert label is not None and label.shape == image.shape[:2]
