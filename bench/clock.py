"""Costs in milliseconds of one core: CPU time, so that what else the machine is doing does not count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def cpu_milliseconds(*works: tuple[Callable[[], object], int], rounds: int = 5) -> list[float]:
    """The cost of one call of each work, which is called so many times a round.

    The works take turns, round by round, and the median round counts: so a machine that slows down slows all of them.
    The first call of each is not counted.
    """
    for work, _ in works:
        work()
    costs: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for (work, calls), cost in zip(works, costs, strict=True):
            began = time.process_time()
            for _ in range(calls):
                work()
            cost.append(1000 * (time.process_time() - began) / calls)
    return [statistics.median(cost) for cost in costs]


def slope(amounts: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(amount), by least squares: 1 where the cost is in proportion to the amount."""
    import numpy as np

    return float(np.polyfit(np.log(amounts), np.log(costs), 1)[0])
