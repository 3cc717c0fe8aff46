"""Compare with recorded values, and keep the largest deviation of each quantity: `python -m tests.golden.deviations`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class Tolerance:
    """How far a quantity may be off, and in what."""

    quantity: str
    largest: float
    unit: str = "absolute"  # or "relative" to the recorded value, or to the array's "largest", or differing "elements"


@dataclass(frozen=True)
class Deviation:
    tolerance: Tolerance
    found: float
    where: str

    def __str__(self) -> str:
        rule = self.tolerance
        return f"{rule.quantity:<44} {self.found:9.2g} of {rule.largest:7.0e} {rule.unit:<9} {self.where}"

    @property
    def is_fine(self) -> bool:
        return self.found <= self.tolerance.largest  # false for NaN


_compared: list[Deviation] = []


def deviation(ours: np.ndarray, recorded: np.ndarray, tolerance: Tolerance, where: str) -> Deviation:
    """NaN matches NaN alone; shapes must agree."""
    assert ours.shape == recorded.shape, f"{where}: shape {ours.shape}, recorded is {recorded.shape}"
    if tolerance.unit == "elements":
        return Deviation(tolerance, float((ours != recorded).sum()), where)
    assert (np.isnan(ours) == np.isnan(recorded)).all(), f"{where}: NaN elsewhere than recorded"
    known = ~np.isnan(recorded)
    ours, recorded = ours[known].astype(np.float64), recorded[known].astype(np.float64)
    off = np.abs(ours - recorded)
    if tolerance.unit == "relative":
        off = np.divide(off, np.abs(recorded), out=off.copy(), where=recorded != 0)
    elif tolerance.unit == "largest":
        off /= np.abs(recorded).max()
    return Deviation(tolerance, float(off.max(initial=0.0)), where)


def check(ours: np.ndarray, recorded: np.ndarray, tolerance: Tolerance, where: str) -> None:
    found = deviation(np.asarray(ours), np.asarray(recorded), tolerance, where)
    _compared.append(found)
    assert found.is_fine, str(found)


def largest() -> list[Deviation]:
    """The worst comparison of each quantity so far, in the order in which they were first compared."""
    worst: dict[str, Deviation] = {}
    for found in _compared:
        key = found.tolerance.quantity
        if key not in worst or found.found > worst[key].found:
            worst[key] = found
    return list(worst.values())


if __name__ == "__main__":
    sys.exit(pytest.main(["-s", str(Path(__file__).parent)]))
