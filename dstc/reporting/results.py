"""What a report tells, as plain values: one run's scores, curves, data, pictures, parameters and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dstc.core.costs import RunRecord
from dstc.core.index import DomainIndex

Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By protocol, then by row, as metrics/scores.json holds them: percent, None where undefined."""


@dataclass(frozen=True)
class Results:
    """Everything of one run that the report shows. Curves by training: both warm-ups, joint
    (empty where it was left out), co_train."""

    data: str  # what people call it
    scores: Scores
    trained_with: Mapping[str, Mapping[str, str]]  # by row: the version of torch, the device, ...
    chosen_on_val: bool
    confusion: pd.DataFrame  # actual, predicted, rate: of the branches' average
    losses: Mapping[str, pd.DataFrame]
    validation: Mapping[str, pd.DataFrame]
    source: DomainIndex
    target_train: DomainIndex
    target_val: DomainIndex
    labeled: Sequence[str]
    unlabeled: Sequence[str]
    pictures: Sequence[Path]
    mixing: Sequence[Path]
    params: Mapping[str, Any]
    versions: Mapping[str, str]
    records: Mapping[str, RunRecord | None]  # by stage, in the order in which they run
