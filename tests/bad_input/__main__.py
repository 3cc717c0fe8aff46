"""Try every bad input of the tables and count: tried, refused properly (message, exit status, nothing half-written), not.

python -m tests.bad_input      takes minutes
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = (HERE, HERE.parent / "config/test_params.py", HERE.parent / "stages/test_report.py")
# By the names of the tests, which are sentences. Property tests, interruptions and what is welcome are no single bad inputs.
REFUSALS = re.compile(
    r"refuse|_bad_|_may_not_be_|_named|_not_there|_does_not_fit|_damaged|_full|_unknown|_another_run_"
)
KINDS = {"test_params.py": "test_params_yaml.py", "test_report.py": "test_stage_errors.py"}


class Tally:
    """A plugin of pytest's."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        tables = [item for item in items if "test_mutations" not in item.nodeid]
        items[:] = [item for item in tables if REFUSALS.search(item.nodeid.rpartition("::")[2].partition("[")[0])]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.skipped:
            file = Path(report.nodeid.partition("::")[0]).name
            kind = KINDS.get(file, file).removeprefix("test_").removesuffix(".py").replace("_", " ")
            self.tried[kind] += 1
            self.refused[kind] += report.passed
            self.skipped[kind] += report.skipped


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bad_input", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    tally = Tally()
    status = pytest.main(["-q", *map(str, FILES)], plugins=[tally])
    for kind, tried in sorted(tally.tried.items()):
        print(f"{kind}: {tried} tried, {tally.refused[kind]} refused properly")
    tried, refused, skipped = (sum(counts.values()) for counts in (tally.tried, tally.refused, tally.skipped))
    print(
        f"bad inputs: {tried} tried, {refused} refused properly, {tried - refused - skipped} not; {skipped} skipped here"
    )
    sys.exit(status)


if __name__ == "__main__":
    main()
