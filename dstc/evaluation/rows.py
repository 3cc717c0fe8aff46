"""What the tables, pictures and the report call the networks and the protocols. Apart from what computes them, so that to
read results takes no torch."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

AVERAGE = "average"
JOINT = "joint"
TTA = "_tta"  # after a protocol's name: with test-time augmentation
ROWS: Mapping[str, str] = {
    "warm_up_source": "warm-up source",
    "warm_up_target": "warm-up target",
    JOINT: "joint training",
    "source_biased": "source-biased branch",
    "target_biased": "target-biased branch",
    AVERAGE: "average of branches",
}
"""The rows of every table of the stage in their order: name in files, and name in pictures."""

BRANCHES = ("source_biased", "target_biased")
TRAINED_WITH = "trained_with"  # beside the protocols in scores.json: what the checkpoints say of torch and the machine


def main_protocol(protocols: Container[str]) -> str:
    """The one that plots, the report's classes and the verdict are about: half, if it was asked for."""
    return "half" if "half" in protocols else "full"


def agreeing(values: Mapping[str, Any]) -> list[list[str]]:
    """The keys, those together whose values are equal: both protocols, where labels have the input's size."""
    groups: dict[str, list[str]] = {}
    for key, value in values.items():
        groups.setdefault(json.dumps(value), []).append(key)
    return list(groups.values())
