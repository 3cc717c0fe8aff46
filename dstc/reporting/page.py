"""The report: one page that opens without a network, of one run's results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template

from dstc.reporting.markup import Html, element, joined
from dstc.reporting.numbers import classes_section, confusion_section, curves_section, data_section, scores_section
from dstc.reporting.pictures import mixing_section, pictures_section
from dstc.reporting.results import Results
from dstc.reporting.run_metadata import cost_section, parameters_section, run_section

FRAME = Path(__file__).with_name("page.html")
SECTIONS: Mapping[str, Callable[[Results], Html]] = {
    "Scores": scores_section,
    "Curves": curves_section,
    "Classes": classes_section,
    "Confusions": confusion_section,
    "Data": data_section,
    "Pictures": pictures_section,
    "Mixing": mixing_section,
    "Parameters": parameters_section,
    "Cost": cost_section,
}
"""By the word in the page's navigation; the section's id is the same in small letters."""


def page(results: Results) -> str:
    """The whole page as HTML. The same results give the same text."""
    nav = element("nav", *(element("a", word, href=f"#{word.lower()}") for word in SECTIONS))
    sections = (make(results) for make in SECTIONS.values())
    body = joined([element("h1", "dstc: report of a run"), nav, run_section(results), *sections])
    return Template(FRAME.read_text(encoding="utf-8")).substitute(body=body)
