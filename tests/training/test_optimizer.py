from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from dstc.config.params import check_params
from dstc.method.cross_supervision import teacher_mode
from dstc.models.segmentation import SegmentationNetwork
from dstc.training.optimizer import build_optimizer, poly_learning_rate, poly_schedule, set_learning_rate
from tests.models.small import small_network
from tests.preparation.trees import raw_params


def optimizer_of(network: nn.Module, **changes: Any) -> torch.optim.Optimizer:
    known: dict[str, Any] = {
        "backbone_multiplier": 1.0,
        "classifier_multiplier": 10.0,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
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


# --- AdamW


ADAMW = {"optimizer": "adamw", "weight_decay": 0.1}


def timms(**changes: Any) -> SegmentationNetwork:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    return small_network(backbone="timm/test_vit", head="dpt", **changes)


def by_name(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    group_of = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    return {name: group_of[id(one)] for name, one in network.named_parameters() if id(one) in group_of}


@pytest.mark.parametrize("backbone", ["narrow_resnet", "timm/test_vit", "timm/test_resnet"])
def test_adamw_holds_every_trainable_parameter_once_and_decays_no_norm_bias_or_embedding(backbone: str) -> None:
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    network = small_network(backbone=backbone)
    optimizer = optimizer_of(network, **ADAMW, layer_decay=0.5 if backbone.startswith("timm/") else 1.0)
    held = Counter(id(one) for group in optimizer.param_groups for one in group["params"])
    assert held == Counter(id(one) for one in network.parameters() if one.requires_grad)
    groups, parameters = by_name(network, optimizer), dict(network.named_parameters())
    for name, group in groups.items():
        is_weight = parameters[name].ndim > 1 and not name.endswith(("pos_embed", "cls_token", "reg_token"))
        assert group["weight_decay"] == (0.1 if is_weight else 0.0), name


def test_each_layer_of_a_transformer_learns_layer_decay_times_as_fast_as_the_one_above() -> None:
    network = timms()
    optimizer = optimizer_of(network, **ADAMW, layer_decay=0.5, backbone_multiplier=2.0, classifier_multiplier=40.0)
    set_learning_rate(optimizer, 1e-3)
    rates = {name: group["lr"] for name, group in by_name(network, optimizer).items()}
    body = "backbone.pyramid.model"
    expected = {f"{body}.blocks.{block}.attn.qkv.weight": 2e-3 * 0.5 ** (5 - block) for block in range(6)}
    expected |= {f"{body}.patch_embed.proj.weight": 2e-3 * 0.5**6, f"{body}.norm.weight": 2e-3}
    expected |= {"classifier.output.0.weight": 4e-2, "classifier.output.0.bias": 4e-2}
    for name, rate in expected.items():
        assert rates[name] == pytest.approx(rate), name


def test_steps_are_those_of_adamw() -> None:
    network = nn.Module()
    network.backbone, network.classifier = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = optimizer_of(network, **ADAMW, backbone_multiplier=0.5, classifier_multiplier=4)
    modules = {network.backbone: 0.5, network.classifier: 4.0}
    weights = {module: module.weight.detach().double() for module in modules}
    first = {module: torch.zeros(1, 2, dtype=torch.double) for module in modules}
    second = {module: torch.zeros(1, 2, dtype=torch.double) for module in modules}
    for step, rate in enumerate((0.01, 0.005, 0.002), start=1):
        set_learning_rate(optimizer, rate)
        for module, multiplier in modules.items():
            gradient = torch.tensor([[rate * 7, -1.0]])
            module.weight.grad, module.bias.grad = gradient, torch.zeros(1)
            first[module] = 0.9 * first[module] + 0.1 * gradient
            second[module] = 0.999 * second[module] + 0.001 * gradient**2
            corrected = first[module] / (1 - 0.9**step), (second[module] / (1 - 0.999**step)).sqrt() + 1e-8
            weights[module] = weights[module] * (1 - multiplier * rate * 0.1) - multiplier * rate * (
                corrected[0] / corrected[1]
            )
        optimizer.step()
    for module, expected in weights.items():
        torch.testing.assert_close(module.weight.detach().double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_gradient_longer_than_allowed_is_shortened_before_the_step_and_a_shorter_one_is_kept(optimizer: str) -> None:
    network = nn.Module()
    network.backbone, network.classifier = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    built = optimizer_of(network, optimizer=optimizer, clip_gradient_norm=1.0)
    for given, left in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        for module, value in zip((network.backbone, network.classifier), given, strict=True):
            module.weight.grad = torch.tensor([[value]])
        built.step()
        found = [float(module.weight.grad) for module in (network.backbone, network.classifier)]
        assert found == pytest.approx(left, rel=1e-5)


# --- a frozen backbone


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("backbone", "head"), [("narrow_resnet", "deeplab_v2"), ("timm/test_resnet", "dpt")])
def test_a_frozen_backbone_does_not_move_nor_its_batch_norm_and_the_head_does(
    backbone: str, head: str, optimizer: str
) -> None:
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    network = small_network(backbone=backbone, head=head, backbone_weights="frozen").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    built = optimizer_of(network, optimizer=optimizer, weight_decay=0.1)
    set_learning_rate(built, 0.01)
    with teacher_mode(network, "batch"):
        network(torch.randn(2, 3, 32, 32))
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    built.step()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in network.named_parameters() if name.startswith("classifier.")}


# --- the schedule


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
