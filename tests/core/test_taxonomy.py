import pytest

from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, LABEL_IDS, SYNTHIA_16, label_id_of, train_ids

CITYSCAPES_TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
    31: 16, 32: 17, 33: 18,
}  # fmt: skip
# The map that the SYNTHIA to Cityscapes literature uses (AdaptSegNet, ADVENT), in Cityscapes' 19 train ids.
SYNTHIA_TRAIN_IDS = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15, 20: 16,
    12: 17, 11: 18,
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "expected"),
    [("cityscapes", CITYSCAPES_TRAIN_IDS), ("gta5", CITYSCAPES_TRAIN_IDS), ("synthia", SYNTHIA_TRAIN_IDS)],
)
def test_ids_map_to_the_19_train_ids_and_all_others_that_are_known_to_void(
    layout: str, expected: dict[int, int]
) -> None:
    assert {id_: train for id_, train in train_ids(layout, CITYSCAPES_19).items() if train != IGNORE} == expected


def test_every_cityscapes_id_is_known() -> None:
    assert {*range(-1, 34)} <= set(train_ids("cityscapes", CITYSCAPES_19))
    assert set(train_ids("synthia", CITYSCAPES_19)) == set(range(23))


def test_the_16_classes_are_compacted_and_the_three_others_become_void() -> None:
    ids = train_ids("cityscapes", SYNTHIA_16)
    assert [ids[label_id_of(name)] for name in ("terrain", "truck", "train")] == [IGNORE] * 3
    assert sorted(train for train in ids.values() if train != IGNORE) == list(range(16))
    assert [ids[label_id_of(name)] for name in SYNTHIA_16.names] == list(range(16))


def test_no_id_means_two_classes() -> None:
    for ids in LABEL_IDS.values():
        listed = [id_ for same in ids.values() for id_ in same]
        assert len(listed) == len(set(listed))


def test_subsets_are_the_16_and_13_classes_of_the_literature() -> None:
    named = {key: {CITYSCAPES_19.names[i] for i in ids} for key, ids in CITYSCAPES_19.subsets.items()}
    assert set(CITYSCAPES_19.names) - named["miou_16"] == {"terrain", "truck", "train"}
    assert named["miou_16"] - named["miou_13"] == {"wall", "fence", "pole"}
    assert {SYNTHIA_16.names[i] for i in SYNTHIA_16.subsets["miou_13"]} == named["miou_13"]


def test_colors_belong_to_names_and_differ() -> None:
    assert len(set(CITYSCAPES_19.colors)) == len(CITYSCAPES_19) == 19
    assert SYNTHIA_16.colors[SYNTHIA_16.names.index("bus")] == (0, 60, 100)


def test_label_ids_of_names_are_cityscapes_ids() -> None:
    assert (label_id_of("void"), label_id_of("road"), label_id_of("bicycle")) == (0, 7, 33)
