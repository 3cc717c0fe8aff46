from itertools import islice, pairwise

import pytest

from dstc.core.errors import UserError
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, train_ids
from dstc.preparation.label_rules import distinct_colors, label_rules, task_classes

OWN = task_classes("own", ["road", "rail"], {"rail": "#FF0010"})


def test_known_layouts_use_their_own_table() -> None:
    assert label_rules("synthia", CITYSCAPES_19, {"road": [1]}, []).ids == train_ids("synthia", CITYSCAPES_19)


def test_own_ids_map_to_the_order_of_the_class_names_and_ignored_ones_to_void() -> None:
    rules = label_rules("folders", OWN, {"rail": [5], "road": [0, 1]}, [255])
    assert (rules.ids, rules.colors) == ({5: 1, 0: 0, 1: 0, 255: IGNORE}, {})


def test_own_colors_are_keyed_in_lower_case() -> None:
    rules = label_rules("csv", OWN, {"rail": ["#AABBCC"], "road": ["#000001"]}, ["#000000"])
    assert (rules.ids, rules.colors) == ({}, {"#aabbcc": 1, "#000001": 0, "#000000": IGNORE})


@pytest.mark.parametrize(
    ("labels", "ignored", "message"),
    [
        ({"road": [1], "rail": ["#aabbcc"]}, [], "mix ids and colors.*name them in data.own.target_labels"),
        ({"road": ["red"]}, [], "'red' is neither an id nor a color"),
        ({"road": [1], "rail": [2]}, [1], "name 1 2 times"),
        ({"road": ["#aabbcc"], "rail": ["#AABBCC"]}, [], "name #aabbcc 2 times"),
        ({"road": [-1]}, [], r"id -1 is not in 0\.\.65535"),
    ],
)
def test_own_labels_that_contradict_themselves_are_refused(
    labels: dict[str, list[int | str]], ignored: list[int | str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        label_rules("folders", OWN, labels, ignored)


def test_a_generated_color_looks_like_none_that_is_given() -> None:
    first = next(distinct_colors())
    given = "#{:02x}{:02x}{:02x}".format(*(max(0, value - 20) for value in first))
    classes = task_classes("own", ["sky", "tree", "house"], {"house": given})
    for color in classes.colors[:2]:
        assert sum(abs(a - b) for a, b in zip(color, classes.colors[2], strict=True)) >= 120


def test_own_classes_keep_given_colors_and_get_distinct_others() -> None:
    names = [f"class {i}" for i in range(254)]
    first = next(distinct_colors())
    classes = task_classes("own", names, {"class 9": "#{:02x}{:02x}{:02x}".format(*first)})
    assert classes.names == tuple(names)
    assert classes.colors[9] == first
    assert len(set(classes.colors)) == 254
    assert (0, 0, 0) not in classes.colors
    assert OWN.colors[1] == (255, 0, 16)


def test_a_color_of_wrong_form_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.own\.colors\.rail: must be '#rrggbb', not 'red'"):
        task_classes("own", ["road", "rail"], {"rail": "red"})


def test_colors_that_pictures_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(UserError) as refused:
        task_classes("own", ["road", "rail", "car"], {"road": "#000000", "rail": "#AA0000", "car": "#aa0000"})
    assert str(refused.value).splitlines() == [
        "data.own.colors.road: '#000000' is the color that void is drawn in; give another",
        "data.own.colors.car: '#aa0000' is that of rail already; give another",
    ]


def test_neighbouring_generated_colors_differ_well() -> None:
    colors = list(islice(distinct_colors(), 40))
    assert min(sum(abs(a - b) for a, b in zip(p, q, strict=True)) for p, q in pairwise(colors)) > 100
