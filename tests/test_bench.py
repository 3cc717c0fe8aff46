"""The table of `make bench`: its figures and its limits. The measurements themselves are no tests."""

import importlib
from pathlib import Path

import pytest

from bench.__main__ import GROUPS
from bench.clock import cpu_milliseconds, slope
from bench.rows import HEADS, markdown, share_of, slope_of, times_as_fast


def test_a_figure_that_misses_its_limit_says_so_and_one_that_keeps_it_does_not() -> None:
    rows = [
        times_as_fast("a", 70, 2, "ms", at_least=35),
        times_as_fast("b", 69, 2, "ms", at_least=35),
        times_as_fast("c", 1, 2, "ms"),
        share_of("d", 10, 2, "ms", at_most=0.2),
        share_of("e", 10, 2.1, "ms", at_most=0.2),
        slope_of("f", 1.1, "1 s", "4 s", at_most=1.1),
        slope_of("g", 1.2, "1 s", "4 s", at_most=1.1),
    ]
    assert [row.met for row in rows] == [True, False, True, True, False, True, False]
    lines = markdown(rows).splitlines()
    assert [line.count("|") for line in lines] == [len(HEADS) + 1] * 9
    assert ["MISSED" in line for line in lines[2:]] == [not row.met for row in rows]
    assert "35.0x" in lines[2] and "0.210" in lines[6] and "slope 1.20" in lines[8]


def test_a_cost_in_proportion_has_slope_one_and_a_square_one_two() -> None:
    assert slope([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_works_take_turns_and_their_first_call_is_not_counted() -> None:
    calls: list[str] = []
    costs = cpu_milliseconds((lambda: calls.append("a"), 1), (lambda: calls.append("b"), 2), rounds=2)
    assert "".join(calls) == "ab" + "abb" * 2
    assert len(costs) == 2 and all(cost >= 0 for cost in costs)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_rows_and_says_what_it_measures(group: str) -> None:
    module = importlib.import_module(f"bench.{group}")
    assert callable(module.rows)
    assert len((module.__doc__ or "").split()) > 20


def test_results_that_are_kept_belong_to_a_group() -> None:
    kept = {path.stem for path in (Path(importlib.import_module("bench").__file__ or "").parent / "results").glob("*")}
    assert kept <= set(GROUPS)
