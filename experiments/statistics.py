"""Means, spreads and paired differences over seeds."""

from __future__ import annotations

import math

import pandas as pd

# Student's t, two-sided 95 %, by degrees of freedom
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def mean_and_spread(values: pd.Series) -> str:
    """Mean and standard deviation over seeds."""
    values = values.dropna()
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f} (one seed)"


def paired_difference(a: pd.Series, b: pd.Series) -> str:
    """Mean of a - b over the seeds that both have, with its 95 % interval (paired t)."""
    difference = (a - b).dropna()
    if len(difference) < 2:
        return f"{difference.mean():+.1f} (one seed)"
    half = T_95[len(difference) - 1] * difference.std() / math.sqrt(len(difference))
    return f"{difference.mean():+.1f} [{difference.mean() - half:+.1f}, {difference.mean() + half:+.1f}]"
