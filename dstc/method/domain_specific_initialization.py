"""Domain-specific initialization: the two branches start apart, each from the warm-up of its own domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Branches:
    """The two networks of the same architecture that are co-trained."""

    source_biased: nn.Module  # B1
    target_biased: nn.Module  # B2


def initialize_branches(
    warmed_up_on_source: Callable[[], nn.Module],
    warmed_up_on_target: Callable[[], nn.Module],
    *,
    initialization: str = "domain_specific",
) -> Branches:
    """B1 from the source warm-up, B2 from the warm-up on the labeled target.

    "both_from_source" and "both_from_target" switch the idea off, to see what it brings.
    """
    return Branches(
        source_biased=warmed_up_on_target() if initialization == "both_from_target" else warmed_up_on_source(),
        target_biased=warmed_up_on_source() if initialization == "both_from_source" else warmed_up_on_target(),
    )
