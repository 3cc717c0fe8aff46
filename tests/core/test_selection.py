"""A few of many."""

from __future__ import annotations

import pytest

from dstc.core.selection import spread


@pytest.mark.parametrize(
    ("items", "count", "expected"),
    [
        ("abc", 5, "abc"),
        ("abcdefghij", 4, "adgj"),
        ("abcde", 2, "ae"),
        ("abc", 1, "a"),
        ("", 3, ""),
        ("abcdefg", 5, "acdeg"),
    ],
)
def test_a_few_of_many_are_spread_from_the_first_to_the_last(items: str, count: int, expected: str) -> None:
    assert "".join(spread(items, count)) == expected
