"""Charts as elements of a page. Where marks lie is asked of the SVG itself."""

import re
from xml.etree import ElementTree

import pytest

from dstc.reporting.charts import INK, SOURCE, TARGET, Dots, Line, bar_chart, dot_chart, line_chart

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


def bars(**more):
    return bar_chart("bars", "title", {"road": 50.0, "$x$": 25.0, "a < b": -10.0}, x_label="IoU", **more)


@pytest.mark.parametrize("svg", [lines(), dots(), dots(log=True), bars()])
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


def test_a_bar_is_as_long_as_its_number_which_stands_beside_it():
    svg = bars(signed=True)
    assert {"road", "a < b", "$x$", "+50.0", "+25.0", "-10.0"} <= set(texts(svg))
    corners = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="fill: (#\w+)', svg)
    spans = [
        (min(xs), max(xs), fill) for d, fill in corners if (xs := [float(x) for x in re.findall(r"[ML] (\S+)", d)])
    ]
    (zero, x50, up), (_, x25, _), (less, end, down) = spans
    assert x50 - zero == pytest.approx(2 * (x25 - zero), abs=0.1)
    assert end - less == pytest.approx((x50 - zero) / 5, abs=0.1)
    assert end == zero
    assert (up, down) == (TARGET, SOURCE)


@pytest.mark.parametrize("end", [400, 600, 1000, 1800, 40000])
def test_ticks_stand_at_round_numbers(end):
    chart = line_chart("ticks", "ticks", [Line("a", [1, end], [0.5, 37.0], INK)], x_label="iteration", y_label="mIoU")
    ticks = [int(text) for text in texts(chart) if text and text.isdigit()]
    x, y = ticks[: ticks.index(0, 1)], ticks[ticks.index(0, 1) :]
    for axis in (x, y):
        assert 3 <= len(axis) <= 9
        assert str(axis[1]).rstrip("0") in ("1", "2", "5")
        assert axis == list(range(0, axis[-1] + 1, axis[1]))


def test_a_chart_without_any_value_is_drawn_empty():
    for log in (False, True):
        svg = dot_chart("empty", "empty", ["road"], [Dots("a", [None], SOURCE)], x_label="IoU", log=log)
        assert "road" in texts(svg)
    assert "IoU" in texts(bar_chart("empty", "empty", {}, x_label="IoU"))
    assert "loss" in texts(line_chart("empty", "empty", [], x_label="iteration", y_label="loss"))


def test_a_chart_of_many_classes_grows_in_height_alone():
    tall = dot_chart("tall", "tall", [f"class {i}" for i in range(100)], [], x_label="IoU")
    assert float(tall.split('viewBox="0 0 360 ')[1].split('"')[0]) > 1500
