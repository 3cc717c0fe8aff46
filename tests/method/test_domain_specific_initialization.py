import pytest
from torch import nn

from dstc.method.domain_specific_initialization import initialize_branches


@pytest.mark.parametrize(
    ("initialization", "expected"),
    [
        ("domain_specific", ("source", "target")),
        ("both_from_source", ("source", "source")),
        ("both_from_target", ("target", "target")),
        ("both_from_joint", ("joint", "joint")),
    ],
)
def test_each_branch_starts_from_the_network_that_is_asked_for(initialization: str, expected: tuple[str, str]) -> None:
    def warmed_up(on: str) -> nn.Module:
        network = nn.Module()
        network.warmed_up_on = on
        return network

    starts = (lambda: warmed_up("source"), lambda: warmed_up("target"), lambda: warmed_up("joint"))
    branches = initialize_branches(*starts, initialization=initialization)
    assert (branches.source_biased.warmed_up_on, branches.target_biased.warmed_up_on) == expected
    assert branches.source_biased is not branches.target_biased
