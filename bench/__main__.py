"""How fast it is, beside the straightforward way of doing the same: one table.

    python -m bench                      every group
    python -m bench data evaluation      some of them

Each group's rows also go to bench/results/<group>.md, with a description of the machine: the last results, to be
committed, so that a change that makes a figure worse shows in the diff. Costs are CPU time where nothing else is said.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from bench.machine import description
from bench.rows import Row, markdown
from dstc.files import write_text

GROUPS = (
    "data",
    "step",
    "memory",
    "evaluation",
    "startup",
    "growth",
)  # a module each, with a docstring and a function `rows`
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
        rows = list(module.rows())
        table += rows
        text = f"# {group}\n\n{module.__doc__}\n`python -m bench {group}`\n\n{description()}\n{markdown(rows)}"
        write_text(RESULTS / f"{group}.md", text)
    print(markdown(table), end="")


if __name__ == "__main__":
    main()
