"""README, CONTRIBUTING and the pages under docs/, and the tables in them."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.project import ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCS = ROOT / "docs"
PAGES = [README, CONTRIBUTING, ROOT / "splits/README.md", *sorted(DOCS.glob("*.md"))]

Table = list[list[str]]
"""The cells of each row below the heading."""


def table(page: Path, *heading: str) -> Table:
    """The one table of a page whose heading begins with these cells."""
    (rows,) = [rows for rows in _tables(page) if rows[0][: len(heading)] == list(heading)]
    return rows[2:]


def _tables(page: Path) -> list[Table]:
    found: list[Table] = [[]]
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]
