"""How fast it is, beside the straightforward way of doing the same: one table.

    python -m bench                      every group
    python -m bench data evaluation      some of them

Each group's rows also go to bench/results/<group>.md, with a description of the machine: the last results, to be
committed, so that a change that makes a figure worse shows in the diff. Costs are CPU time where nothing else is said.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from bench.machine import description
from bench.rows import Row, markdown
from dstc.core.errors import UserError
from dstc.core.files import write_text

# A module each, with a docstring and a function `rows`; what that gives as text goes below the table.
GROUPS = ("data", "step", "memory", "evaluation", "startup", "growth", "scale", "busy", "gpu")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{', '.join(GROUPS)}; none means all")
    groups = parser.parse_args().groups or GROUPS
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        parser.error(f"no group {', '.join(unknown)}; known are {', '.join(GROUPS)}")
    table: list[Row] = []
    for group in groups:
        module = importlib.import_module(f"bench.{group}")
        print(f"bench: {group} ...", flush=True)
        try:
            found = list(module.rows())
        except UserError as error:  # nothing that this group measures is here
            print(f"bench: {error}", flush=True)
            continue
        rows = [row for row in found if isinstance(row, Row)]
        below = "".join(f"\n{text}" for text in found if isinstance(text, str))
        table += rows
        text = f"# {group}\n\n{module.__doc__}\n`python -m bench {group}`\n\n{description()}\n{markdown(rows)}{below}"
        write_text(RESULTS / f"{group}.md", text)
    if not table:
        sys.exit(1)
    print(markdown(table), end="")


if __name__ == "__main__":
    main()
