"""Charts as elements of a page. Where marks lie is asked of the SVG itself."""

import re
from xml.etree import ElementTree

import pytest

from dstc.reporting.charts import INK, SOURCE, TARGET, Dots, Line, dot_chart, line_chart

LINES = [Line("one & <two>", [1, 2, 3], [4, 5, 6], SOURCE), Line("mean", [1, 3], [5, 5], INK, dashed=True)]
DOTS = [Dots("$a$", [50.0, None, 0.0], SOURCE), Dots("b", [25.0, 75.0, 5.0], TARGET)]


def lines(name="lines"):
    return line_chart(name, 'a "title"', LINES, x_label="iteration", y_label="mIoU")


def dots(name="dots", **more):
    return dot_chart(name, "title", ["road", "a < b", "$x$"], DOTS, x_label="IoU", **more)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def marks_of(svg, color):
    """(x, y) of each mark in the axes: all but the last one of a color, which stands in the legend."""
    places = re.findall(rf'<use href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: {color}', svg)
    return [(float(x), float(y)) for x, y in places][:-1]


@pytest.mark.parametrize("svg", [lines(), dots(), dots(log=True)])
def test_a_chart_is_one_element_in_the_pages_color_and_font(svg):
    root = ElementTree.fromstring(svg)  # or it is not well-formed
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert "width" not in root.attrib
    assert root.get("viewBox").startswith("0 0 360 ")
    assert "currentColor" in svg
    assert not re.search(rf"{INK}|#000000|black|font-family|<style|http|<metadata|<image", svg)


def test_labels_stand_in_a_chart_as_text_and_as_they_are():
    assert {"one & <two>", "mean", "iteration", "mIoU"} <= set(texts(lines()))
    assert {"road", "a < b", "$x$", "$a$", "b", "IoU"} <= set(texts(dots()))


def test_the_same_numbers_give_the_same_bytes():
    assert lines() == lines()
    assert dots() == dots()


def test_two_charts_of_a_page_share_no_id_and_use_only_their_own():
    ids = [re.findall(r'id="([^"]+)"', svg) for svg in (lines("one"), lines("two"))]
    assert ids[0]
    assert set(ids[0]).isdisjoint(ids[1])
    for svg in (lines("one"), dots("two")):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) == set(re.findall(r'id="([^"]+)"', svg))


def test_marks_lie_where_their_values_are_and_absent_ones_nowhere():
    (x50, first), (x0, third) = marks_of(dots(), SOURCE)
    (x25, other_first), (x75, second), (_, other_third) = marks_of(dots(), TARGET)
    assert first == other_first < second < third == other_third
    assert x25 - x0 == pytest.approx(x50 - x25, abs=0.01)
    assert x75 - x50 == pytest.approx(x50 - x25, abs=0.01)


def test_on_a_log_axis_equal_factors_are_equal_distances_and_zero_is_left_out():
    assert len(marks_of(dots(log=True), SOURCE)) == 1
    (x25, _), (x75, _), (x5, _) = marks_of(dots(log=True), TARGET)
    assert (x25 - x5) / (x75 - x25) == pytest.approx(1.465, abs=0.01)  # log 5 / log 3


def test_a_chart_without_any_value_is_drawn_empty():
    for log in (False, True):
        svg = dot_chart("empty", "empty", ["road"], [Dots("a", [None], SOURCE)], x_label="IoU", log=log)
        assert "road" in texts(svg)
    assert "loss" in texts(line_chart("empty", "empty", [], x_label="iteration", y_label="loss"))


def test_a_chart_of_many_classes_grows_in_height_alone():
    tall = dot_chart("tall", "tall", [f"class {i}" for i in range(100)], [], x_label="IoU")
    assert float(tall.split('viewBox="0 0 360 ')[1].split('"')[0]) > 1500
