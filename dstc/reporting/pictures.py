"""The sections that show images: what each network makes of a few val images, and what was being mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dstc.core.selection import spread
from dstc.label_maps.pictures import VOID_COLOR, Color, Panel, legend_of, read_panels
from dstc.reporting.embedded import data_uri
from dstc.reporting.markup import Html, choices, element, section
from dstc.reporting.results import Results

# As many and as large as keeps the page of a run on full-size images within two megabytes.
PICTURES, PICTURE_WIDTH = 8, 480
MIXINGS, MIXING_WIDTH = 5, 256
RIGHT, WRONG = (176, 184, 194), (214, 40, 40)


def pictures_section(results: Results) -> Html:
    """A few val images: input, truth, prediction and its errors, with tabs between the networks."""
    shown = [(path.stem, read_panels(path)) for path in spread(results.pictures, PICTURES)]
    if not shown:
        return section("pictures", "Pictures", element("p", "None were drawn: evaluate.pictures is 0."))
    networks = [title for title, _ in shown[0][1]][2:]
    colors = legend_of(results.target_val.classes)
    judged = [color for _, color in colors[:-1]]
    return section(
        "pictures",
        "Predictions on validation images",
        choices("network", {title: title for title in networks}, networks[-1]),
        _legend(colors),
        _legend(
            [("right", RIGHT), ("wrong", WRONG), ("not scored: void, or several classes in one pixel", VOID_COLOR)]
        ),
        *(_card(name, panels, judged) for name, panels in shown),
        _left_out(len(shown), results.pictures),
    )


def _card(name: str, panels: Sequence[Panel], colors: Sequence[Color]) -> Html:
    """A row of panes. Those of prediction and errors hold one image for each network, of which the page shows one."""
    (_, photo), (_, truth), *predictions = panels
    errors = [(title, error_map(pixels, truth, colors)) for title, pixels in predictions]
    panes = (
        _pane("input", _image(photo, f"{name}: input")),
        _pane("truth", _image(truth, f"{name}: truth")),
        _pane("prediction", *_one_shown(name, predictions)),
        _pane("errors", *_one_shown(f"{name}: errors", errors)),
    )
    return element("div", element("h3", name), element("div", *panes, class_="panes"), class_="card")


def error_map(prediction: np.ndarray, truth: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Where two pictures of labels, RGB uint8 (H, W, 3), agree and where not, in the colors RIGHT and WRONG.

    Only pixels whose true color is that of a class are judged: void is not, nor what shrinking has mixed of several.
    """
    known = np.isin(_as_number(truth), _as_number(np.asarray(colors, np.uint8)))
    wrong = (prediction != truth).any(-1)
    return np.array([VOID_COLOR, RIGHT, WRONG], np.uint8)[known * (1 + wrong)]


def _as_number(colors: np.ndarray) -> np.ndarray:
    return colors.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])


def _one_shown(name: str, images: Sequence[Panel]) -> Iterator[Html]:
    for title, pixels in images:
        yield _image(pixels, f"{name}: {title}", data_network=title, hidden=title != images[-1][0])


def _image(pixels: np.ndarray, alt: str, width: int = PICTURE_WIDTH, **attributes: object) -> Html:
    return element("img", src=data_uri(pixels, width=width), alt=alt, **attributes)


def _pane(title: str, *images: Html) -> Html:
    """What a click shows larger."""
    return element("figure", element("button", *images, type="button"), element("figcaption", title), class_="pane")


def _legend(colors: Sequence[tuple[str, Color]]) -> Html:
    entries = (element("li", element("i", style=f"background:rgb{color}"), name) for name, color in colors)
    return element("ul", *entries, class_="legend")


def _left_out(shown: int, of: Sequence[Path]) -> Html:
    return element("p", f"{shown} of {len(of)} pictures; all are in {of[0].parent}.", class_="quiet")


def mixing_section(results: Results) -> Html:
    """What was mixed in a few iterations, with a slider over them."""
    shown = spread(results.mixing, MIXINGS)
    if not shown:
        return section("mixing", "Mixed training images", element("p", "There are no pictures of it."))
    iterations = [path.stem.removeprefix("iteration_").lstrip("0") for path in shown]
    steps = (
        _step(iteration, path, hidden=path != shown[-1]) for iteration, path in zip(iterations, shown, strict=True)
    )
    now = element("span", "iteration ", element("b", iterations[-1], id="iteration"))
    return section(
        "mixing",
        "Mixed training images",
        element("p", "The first image of each batch; colors as above.", class_="quiet"),
        _slider(len(shown) - 1),
        now,
        *steps,
        _left_out(len(shown), results.mixing),
    )


def _slider(last: int) -> Html:
    ends = "start", "end of co-training"
    slider = element("input", id="step", type="range", min=0, max=last, value=last, aria_label=" to ".join(ends))
    return element("div", element("span", ends[0]), slider, element("span", ends[1]), class_="slider")


def _step(iteration: str, path: Path, *, hidden: bool) -> Html:
    panes = (
        _pane(title, _image(pixels, f"iteration {iteration}: {title}", width=MIXING_WIDTH))
        for title, pixels in read_panels(path)
    )
    return element("div", *panes, class_="panes small step", data_iteration=iteration, hidden=hidden)
