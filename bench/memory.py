"""Peak memory of a co-training step beside that of a supervised step of the same network and crop plus the second network's
weights and momentum: ResNet-101 in bf16, 2 + 2 + 2 images against 2, the preset gta5_cityscapes, where the branches label
for each other; then with moving averages that do (`co_train.teacher_decay`), weights of their own. A process each, over
what was taken before there were networks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.one_step import Case, measured, params_of
from bench.rows import Row, times_as_much
from dstc.taxonomy import CITYSCAPES_19
from dstc.training.setting import Setting

CROPS = (256, 512)


def rows() -> Iterator[Row]:
    for crop in CROPS:
        case = Case(crop, precision="bf16")
        supervised = measured(Case(crop, precision="bf16", kind="supervised"))["whole"]
        allowed = supervised + second_network(case)
        yield times_as_much(f"a step at {crop}x{crop}", allowed, measured(case)["whole"], at_most=1.15)
    crop = CROPS[0]
    plain, averaged = (measured(Case(crop, precision="bf16", teacher_decay=decay))["whole"] for decay in (None, 0.99))
    yield times_as_much(f"a step at {crop}x{crop}, by averages instead of the branches", plain, averaged)


def second_network(case: Case) -> int:
    """Bytes of a network's weights and statistics, and of the momentum of what is trained."""
    network = Setting.of(params_of(case), CITYSCAPES_19).new_network()
    parameters = list(network.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return sum(tensor.nbytes for tensor in (*parameters, *network.buffers(), *trained))
