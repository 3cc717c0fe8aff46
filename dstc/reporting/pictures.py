"""The sections that show images: what each network makes of a few val images, and what was being mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dstc.label_maps.pictures import Panel, legend_of, read_panels
from dstc.reporting.embedded import data_uri, spread
from dstc.reporting.markup import Html, element, section
from dstc.reporting.results import Results

# As many and as large as keeps the page of a run on full-size images within two megabytes.
PICTURES, PICTURE_WIDTH = 8, 480
MIXINGS, MIXING_WIDTH = 5, 256


def pictures_section(results: Results) -> Html:
    """A few val images, with tabs between the networks and a slider between photo and classes."""
    shown = [(path.stem, read_panels(path)) for path in spread(results.pictures, PICTURES)]
    if not shown:
        return section("pictures", "Pictures", element("p", "None were drawn: evaluate.pictures is 0."))
    views = [title for title, _ in shown[0][1]][1:]
    tabs = (_tab(position, view, chosen=position == len(views) - 1) for position, view in enumerate(views))
    return section(
        "pictures",
        "Predictions on validation images",
        element("fieldset", *tabs, class_="tabs"),
        _slider("strength", "photo", "classes", most=100, at=70),
        _legend(results),
        element("div", *(_card(name, panels) for name, panels in shown), class_="cards"),
        _left_out(len(shown), results.pictures),
    )


def _tab(position: int, view: str, *, chosen: bool) -> Html:
    return element("label", element("input", type="radio", name="view", value=position, checked=chosen), view)


def _slider(name: str, left: str | Html, right: str | Html, *, most: int, at: int) -> Html:
    slider = element("input", id=name, type="range", min=0, max=most, value=at, aria_label=f"{left} to {right}")
    return element("div", element("span", left), slider, element("span", right), class_="slider")


def _card(name: str, panels: Sequence[Panel]) -> Html:
    """The photo, and over it one layer for each view, of which the page shows one."""
    (title, photo), *views = panels
    layers = [
        element(
            "img",
            src=data_uri(pixels, width=PICTURE_WIDTH),
            alt=f"{name}: {view}",
            class_="layer",
            data_view=position,
            hidden=position != len(views) - 1,
        )
        for position, (view, pixels) in enumerate(views)
    ]
    below = element("img", src=data_uri(photo, width=PICTURE_WIDTH), alt=f"{name}: {title}".removesuffix(": "))
    return element("figure", element("div", below, *layers, class_="stack"), element("figcaption", name))


def _legend(results: Results) -> Html:
    colors = legend_of(results.target_val.classes)
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
    last = len(shown) - 1
    return section(
        "mixing",
        "Mixed training images",
        element("p", "The first image of each batch; colors as above.", class_="quiet"),
        _slider("step", "start", "end of co-training", most=last, at=last),
        now,
        *steps,
        _left_out(len(shown), results.mixing),
    )


def _step(iteration: str, path: Path, *, hidden: bool) -> Html:
    figures = (
        element(
            "figure",
            element("img", src=data_uri(pixels, width=MIXING_WIDTH), alt=f"iteration {iteration}: {title}"),
            element("figcaption", title),
        )
        for title, pixels in read_panels(path)
    )
    return element("div", *figures, class_="cards small step", data_iteration=iteration, hidden=hidden)
