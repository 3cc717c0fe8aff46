import pytest
import torch
from torch import nn

from dstc.config.params import check_params
from dstc.training.optimizer import build_optimizer, poly_learning_rate, poly_schedule, set_learning_rate
from tests.models.small import small_network
from tests.preparation.trees import raw_params


def optimizer_of(network: nn.Module, **changes: float) -> torch.optim.SGD:
    known = {"backbone_multiplier": 1.0, "classifier_multiplier": 10.0, "momentum": 0.9, "weight_decay": 5e-4}
    return build_optimizer(network, **(known | changes))


@pytest.mark.parametrize("affine", ["frozen", "trained"])
@pytest.mark.parametrize("backbone", ["narrow_resnet", "mobilenet_v2"])
def test_every_trainable_parameter_is_there_exactly_once_and_no_frozen_one(backbone: str, affine: str) -> None:
    network = small_network(backbone=backbone, batch_norm_affine=affine)
    held = [parameter for group in optimizer_of(network).param_groups for parameter in group["params"]]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert len(held) == len(trainable)
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in trainable}


def test_the_second_group_is_the_classifier() -> None:
    network = small_network()
    classifier = optimizer_of(network).param_groups[1]["params"]
    assert {id(parameter) for parameter in classifier} == {id(p) for p in network.classifier.parameters()}
    assert len(classifier) == 8


def test_each_group_gets_the_rate_times_its_multiplier() -> None:
    optimizer = optimizer_of(small_network(), backbone_multiplier=3, classifier_multiplier=10)
    for rate in (2.5e-4, 1e-4):
        set_learning_rate(optimizer, rate)
        assert [group["lr"] for group in optimizer.param_groups] == [3 * rate, 10 * rate]


def test_steps_are_those_of_sgd_with_momentum_and_weight_decay() -> None:
    network = nn.Module()
    network.backbone, network.classifier = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    optimizer = optimizer_of(network, backbone_multiplier=3, momentum=0.9, weight_decay=0.1)
    weights = [module.weight.tolist()[0] for module in (network.backbone, network.classifier)]
    buffers = [[0.0, 0.0], [0.0, 0.0]]
    for rate in (0.01, 0.005, 0.002):
        set_learning_rate(optimizer, rate)
        gradients = [[rate * 7, -1.0], [2.0, rate]]
        for module, gradient in zip((network.backbone, network.classifier), gradients, strict=True):
            module.weight.grad = torch.tensor([gradient])
        optimizer.step()
        for part, multiplier in enumerate((3, 10)):
            for i in range(2):
                buffers[part][i] = 0.9 * buffers[part][i] + gradients[part][i] + 0.1 * weights[part][i]
                weights[part][i] -= multiplier * rate * buffers[part][i]
    assert network.backbone.weight.tolist()[0] == pytest.approx(weights[0], rel=1e-5)
    assert network.classifier.weight.tolist()[0] == pytest.approx(weights[1], rel=1e-5)


def test_the_poly_schedule_starts_at_the_base_and_ends_at_zero() -> None:
    rates = [poly_learning_rate(0.01, i, schedule_iterations=100, power=0.9) for i in range(101)]
    assert rates[0] == 0.01
    assert rates[50] == pytest.approx(0.01 * 0.5**0.9)
    assert rates[100] == 0
    assert rates == sorted(rates, reverse=True)


def test_stopped_at_120_000_of_250_000_iterations_the_released_rate_is_0_555_of_its_start() -> None:
    last = poly_learning_rate(2.5e-4, 120_000, schedule_iterations=250_000, power=0.9)
    assert last / 2.5e-4 == pytest.approx(0.555, abs=5e-4)


def test_a_ramp_rises_linearly_and_meets_the_schedule_where_it_ends() -> None:
    def rates(ramp: int) -> list[float]:
        return [
            poly_learning_rate(1.0, i, schedule_iterations=100, power=0.9, lr_ramp_iterations=ramp) for i in range(20)
        ]

    plain, ramped = rates(0), rates(10)
    assert [a / b for a, b in zip(ramped, plain, strict=True)] == pytest.approx(
        [*(i / 10 for i in range(1, 11)), *[1.0] * 10]
    )


def test_a_schedule_of_null_ends_where_the_training_ends_however_short_it_is() -> None:
    params = check_params(raw_params(), "params.yaml")
    for iterations in (10, 400):
        null, typed = (
            poly_schedule(
                params.co_train.model_copy(update={"iterations": iterations, "schedule_iterations": end}), 0.9
            )
            for end in (None, iterations)
        )
        assert [null(i) for i in range(iterations + 1)] == [typed(i) for i in range(iterations + 1)]
        assert null(iterations) == 0
