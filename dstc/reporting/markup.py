"""The few pieces of HTML that a report is made of. Text is escaped here and nowhere else; what is HTML already is `Html`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

_VOID = ("img", "input")  # elements that have no end


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: object) -> Html:
    """Text as HTML; what is HTML already stays."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def joined(parts: Iterable[str], separator: str = "\n") -> Html:
    """All parts as one piece of HTML."""
    return Html(separator.join(escaped(part) for part in parts))


def element(tag: str, *content: str, **attributes: object) -> Html:
    """<tag ...>content</tag>. `class_` is class, `_` in a name is `-`; True is a bare attribute, None and False are none."""
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{tag}{written}>" + ("" if tag in _VOID else f"{joined(content, '')}</{tag}>"))


def section(name: str, title: str, *content: str) -> Html:
    """A part of the page under a heading, with `name` as its address."""
    return Html(f'<section id="{name}">\n{joined([element("h2", title), *content])}\n</section>')


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str | None = None, class_: str = "") -> Html:
    """A table that scrolls by itself where it is wider than the page; its caption does not. A cell that is a whole <td> is
    taken as it is."""
    lines = [
        element("thead", element("tr", *(element("th", text, scope="col") for text in head))),
        element("tbody", joined(element("tr", _head(first), *map(_cell, rest)) for first, *rest in rows)),
    ]
    scrolling = element("div", element("table", *lines, class_=class_ or None), class_="scroll")
    return element("figure", element("figcaption", caption), scrolling) if caption else scrolling


def _head(text: str) -> Html:
    return element("th", text, scope="row")


def _cell(text: str) -> Html:
    return text if isinstance(text, Html) and text.startswith("<td") else element("td", text)


def choices(name: str, options: Mapping[str, str], chosen: str) -> Html:
    """Tabs, of which one is chosen: the page then shows those elements alone whose data-`name` is the key of that option."""
    tabs = (
        element("label", element("input", type="radio", name=name, value=key, checked=key == chosen), title)
        for key, title in options.items()
    )
    return element("fieldset", *tabs, class_="tabs")


def folded(summary: str, *content: str) -> Html:
    """Content behind a line that opens it."""
    return element("details", element("summary", summary), *content)
