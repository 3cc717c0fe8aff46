"""What is wrong with files of a data set, told in as few lines as there are kinds of problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dstc.core.errors import UserError

SHOWN = 50


class Problem(NamedTuple):
    """A file, and what is wrong with it. What stands in brackets may differ among files that have the same problem."""

    file: Path
    what: str


def problems_of(file: Path, error: UserError) -> list[Problem]:
    """One for each line of an error about a file."""
    return [Problem(file, line.removeprefix(f"{file}: ")) for line in str(error).splitlines()]


def told(problems: Iterable[Problem]) -> list[str]:
    """A line for each kind of problem, with the first file that has it and the number of the others."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(re.sub(r" \(.*\)", "", problem.what), []).append(problem)
    return [f"{kind[0].file}{_others(len(kind) - 1)}: {kind[0].what}" for kind in kinds.values()]


def _others(count: int) -> str:
    return f" and {count} more file{'s' if count > 1 else ''}" if count else ""


def refuse(problems: Sequence[Problem]) -> None:
    """Raise a UserError where there are problems."""
    refuse_lines(told(problems), len(problems))


def refuse_lines(lines: Sequence[str], count: int | None = None) -> None:
    """Raise a UserError where there are lines, which tell `count` problems (as many as they are, if not given)."""
    if not lines:
        return
    shown = list(lines[:SHOWN])
    if len(lines) > SHOWN:
        shown.append(f"... and {len(lines) - SHOWN} more")
    count = count or len(lines)
    heading = [f"{count} problems in the data; nothing was written:"] if len(lines) > 1 else []
    raise UserError("\n".join(heading + shown))
