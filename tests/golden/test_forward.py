"""Forward passes: the tiny network with recorded weights, and full-width ones whose weights a recipe computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dstc.models.segmentation import SegmentationNetwork, upsample_logits
from dstc.training.cross_entropy import cross_entropy
from dstc.training.optimizer import build_optimizer
from tests.golden.deviations import Tolerance, check
from tests.golden.duplicating_sgd import released_visits
from tests.golden.recorded import arrays, full_width, load, own_label, own_name
from tests.golden.replay import NETS, tiny_network

LOGITS = Tolerance("logits, tiny network", 5e-5)
FULL_WIDTH_LOGITS = Tolerance("logits, full width", 5e-5)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_low_resolution_logits_match(net: str, mode: str) -> None:
    forward, inputs = arrays("forward"), arrays("inputs")
    images = {key: inputs[key] for key in ("image_s", "image_t", "image_u")} | {"big": forward["big.image"]}
    if mode == "eval":
        images["odd"] = forward["odd.image"]
    for name, image in images.items():
        network = tiny_network(net).train(mode == "train")
        key = f"{net}.{name}.{mode}.logits_low"
        check(network.low_resolution_logits(torch.from_numpy(image)).numpy(), forward[key], LOGITS, key)


@pytest.mark.parametrize("net", NETS)
@torch.no_grad()
def test_logits_at_image_size_and_their_cross_entropy_match(net: str) -> None:
    forward, inputs = arrays("forward"), arrays("inputs")
    network = tiny_network(net).eval()
    key = f"{net}.image_u.eval.logits"
    check(network(torch.from_numpy(inputs["image_u"])).numpy(), forward[key], LOGITS, key)
    for letter in "st":
        key = f"{net}.image_{letter}.eval.ce"
        logits = network(torch.from_numpy(inputs[f"image_{letter}"]))
        loss = cross_entropy(logits, own_label(inputs[f"gt_{letter}"]))
        check(loss[None].numpy(), forward[key], Tolerance("cross entropy of a forward pass", 1e-5), key)


@pytest.mark.parametrize("net", NETS)
@torch.no_grad()
def test_of_an_odd_image_the_recorded_larger_logits_are_cut_to_its_size(net: str) -> None:
    forward = arrays("forward")
    image = torch.from_numpy(forward["odd.image"])
    network = tiny_network(net).eval()
    larger = upsample_logits(network.low_resolution_logits(image), 8)
    assert larger.shape == tuple(forward[f"{net}.odd.eval.logits_shape"])
    logits = network(image)
    assert logits.shape[-2:] == image.shape[-2:]
    assert torch.equal(logits, larger[..., :65, :97])


@pytest.mark.parametrize("net", NETS)
def test_the_state_has_the_recorded_names_in_their_order_and_the_recorded_norms(net: str) -> None:
    forward = arrays("forward")
    state = tiny_network(net).state_dict()
    assert list(state) == [own_name(name) for name in forward["state_names"]]
    norms = np.array([float(value.double().norm()) for value in state.values()])
    check(norms, forward[f"{net}.state_norm"], Tolerance("state norms at the start", 1e-12, "relative"), net)


def computed(name: str, position: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The recipe of the README for one entry of a state dict."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(0x9E3779B1)
    x += np.uint32((position * 0x85EBCA77 + seed) % 2**32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    u = x / 2**32
    if len(shape) == 4:
        u = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
        u *= 0.01 if name == "conv1.weight" else 0.3 if name.startswith("layer6") else 1
    elif name.endswith(("running_mean", ".bias")):
        u = (2 * u - 1) * 0.1
    elif name.endswith("running_var"):
        u = 0.75 + 0.5 * u
    else:
        u = 0.2 + 0.2 * u if "bn3" in name else 0.4 + 0.4 * u if "downsample" in name else 0.75 + 0.5 * u
    return u.reshape(shape).astype(np.float32)


def filled(network: SegmentationNetwork, tag: str) -> SegmentationNetwork:
    recorded = arrays("forward_procedural")
    own = network.state_dict()
    names = recorded[f"{tag}.state_names"]
    state = {
        name: computed(name, position, tuple(own[own_name(name)].shape), int(recorded["seed"]))
        for position, name in enumerate(names)
    }
    for quantity, power in (("state_sum", 1), ("state_norm", 2)):
        values = (value.astype(np.float64) for value in state.values())
        sums = np.array([value.sum() if power == 1 else np.linalg.norm(value) for value in values])
        check(
            sums, recorded[f"{tag}.{quantity}"], Tolerance(f"computed weights, {quantity}", 1e-8), f"{tag} {quantity}"
        )
    load(network, state)
    return network


@pytest.mark.parametrize(("tag", "blocks"), [("full_1111", (1, 1, 1, 1)), ("full_101", (3, 4, 23, 3))])
def test_full_width_networks_match(tag: str, blocks: tuple[int, int, int, int]) -> None:
    recorded = arrays("forward_procedural")
    with torch.device("meta"):
        network = full_width(blocks)
    network = filled(network.to_empty(device="cpu"), tag).eval()
    with torch.no_grad():
        logits = network.low_resolution_logits(torch.from_numpy(recorded["image"]))
        labels = upsample_logits(logits, 8).argmax(1).to(torch.uint8)
    check(logits.numpy(), recorded[f"{tag}.eval.logits_low"], FULL_WIDTH_LOGITS, tag)
    ties = Tolerance("labels, full width", 2, "elements")
    check(labels.numpy(), recorded[f"{tag}.eval.logits_argmax"], ties, tag)
    assert_counts_match(network, recorded[f"{tag}.counts"])


def assert_counts_match(network: SegmentationNetwork, counts: np.ndarray) -> None:
    """(elements, entries of group 0 as released, distinct ones, entries of group 1, distinct ones)"""
    optimizer = build_optimizer(
        network, backbone_multiplier=1, classifier_multiplier=10, momentum=0.9, weight_decay=5e-4
    )
    backbone, classifier = (len(group["params"]) for group in optimizer.param_groups)
    elements = sum(parameter.numel() for parameter in network.parameters())
    assert (elements, backbone, classifier, classifier) == tuple(counts[[0, 2, 3, 4]])
    assert sum(released_visits(network).values()) - classifier == counts[1]


def test_parameters_are_counted_as_often_as_the_released_optimizer_holds_them() -> None:
    forward = arrays("forward")
    network = tiny_network("net1")
    visits = released_visits(network)
    counted = {name: visits.get(parameter, 0) for name, parameter in network.named_parameters()}
    recorded = zip(forward["param_names"], forward["optim_multiplicity"], strict=True)
    assert counted == {own_name(name): count for name, count in recorded}
