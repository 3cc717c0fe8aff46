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
    trained_jointly: Callable[[], nn.Module],
    *,
    initialization: str = "domain_specific",
) -> Branches:
    """B1 from the source warm-up, B2 from the warm-up on the labeled target.

    "both_from_source", "both_from_target" and "both_from_joint" switch the idea off, to see what it brings.
    """
    for_source_biased, for_target_biased = {
        "domain_specific": (warmed_up_on_source, warmed_up_on_target),
        "both_from_source": (warmed_up_on_source, warmed_up_on_source),
        "both_from_target": (warmed_up_on_target, warmed_up_on_target),
        "both_from_joint": (trained_jointly, trained_jointly),
    }[initialization]
    return Branches(source_biased=for_source_biased(), target_biased=for_target_biased())
