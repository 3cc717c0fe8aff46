"""Files of initial weights with random values in the forms that are about: what is loaded, and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from dstc.checkpoints import save_network
from dstc.errors import UserError
from dstc.models.deeplab_v2 import DeepLabV2
from dstc.models.initial_weights import load_initial_weights
from tests.models.small import small_network

CAFFE = {"backbone": "narrow_resnet", "stride_on": "first_conv", "normalization": "caffe_bgr"}
TORCHVISION = {"backbone": "narrow_resnet", "stride_on": "second_conv", "normalization": "imagenet_rgb"}
MOBILENET = {"backbone": "mobilenet_v2", "stride_on": "first_conv", "normalization": "imagenet_rgb"}


def random_backbone_state(seed: int = 5, **changes: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator)
        for name, value in small_network(**changes).backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")  # files of that age know no such counters
    }


def caffe_file(path: Path) -> dict[str, Tensor]:
    """DeepLab_resnet_pretrained_init: a first component `Scale.`, and a classifier of another task."""
    state = random_backbone_state()
    head = {f"layer5.conv2d_list.{i}.{part}": torch.rand(2) for i in range(4) for part in ("weight", "bias")}
    torch.save({f"Scale.{name}": value for name, value in (state | head).items()}, path)
    return state


def torchvision_file(path: Path) -> dict[str, Tensor]:
    state = random_backbone_state()
    torch.save(state | {"fc.weight": torch.rand(2), "fc.bias": torch.rand(2)}, path)
    return state


def mobilenet_file(path: Path) -> dict[str, Tensor]:
    state = random_backbone_state(backbone="mobilenet_v2")
    torch.save(state | {"classifier.1.weight": torch.rand(2)}, path)
    return state


def load(network: DeepLabV2, path: Path | str, setting: dict[str, str]) -> None:
    load_initial_weights(network, str(path), **setting)


def state_of(network: DeepLabV2) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("write", "setting"), [(caffe_file, CAFFE), (torchvision_file, TORCHVISION), (mobilenet_file, MOBILENET)]
)
def test_a_file_of_a_known_kind_fills_the_backbone_and_leaves_the_classifier(
    tmp_path: Path, write: Callable[[Path], dict[str, Tensor]], setting: dict[str, str]
) -> None:
    expected = write(tmp_path / "init.pth")
    network = small_network(backbone=setting["backbone"])
    before = state_of(network)
    load(network, tmp_path / "init.pth", setting)
    after = network.state_dict()
    for name, value in expected.items():
        assert torch.equal(after[f"backbone.{name}"], value)
    for name in before:
        if name.startswith("classifier.") or name.endswith("num_batches_tracked"):
            assert torch.equal(after[name], before[name])


@pytest.mark.parametrize(
    ("write", "setting", "change", "named"),
    [
        (caffe_file, CAFFE, {"stride_on": "second_conv"}, ("Caffe", "stride_on", "first_conv", "second_conv")),
        (caffe_file, CAFFE, {"normalization": "imagenet_rgb"}, ("Caffe", "normalization", "caffe_bgr", "imagenet_rgb")),
        (torchvision_file, TORCHVISION, {"stride_on": "first_conv"}, ("torchvision", "second_conv", "first_conv")),
        (torchvision_file, TORCHVISION, {"normalization": "caffe_bgr"}, ("torchvision", "imagenet_rgb", "caffe_bgr")),
        (mobilenet_file, MOBILENET, {"normalization": "caffe_bgr"}, ("MobileNetV2", "imagenet_rgb", "caffe_bgr")),
    ],
)
def test_a_setting_that_the_file_was_not_made_for_is_refused_with_both_sides_named(
    tmp_path: Path,
    write: Callable[[Path], dict[str, Tensor]],
    setting: dict[str, str],
    change: dict[str, str],
    named: tuple[str, ...],
) -> None:
    write(tmp_path / "init.pth")
    network = small_network(backbone=setting["backbone"])
    before = state_of(network)
    with pytest.raises(UserError, match=r"init\.pth") as error:
        load(network, tmp_path / "init.pth", setting | change)
    assert all(word in str(error.value) for word in named)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_none_leaves_the_random_weights() -> None:
    network = small_network()
    before = state_of(network)
    load(network, "none", CAFFE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def save_checkpoint(path: Path, **model: str) -> DeepLabV2:
    network = small_network(3)
    save_network(path, network, {"classes": ["road"], "model": CAFFE | model})
    return network


def test_a_checkpoint_of_this_project_fills_the_whole_network(tmp_path: Path) -> None:
    saved, network = save_checkpoint(tmp_path / "a.pth"), small_network(4)
    load(network, tmp_path / "a.pth", CAFFE)
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("key", "was", "now"),
    [
        ("backbone", "resnet101", "narrow_resnet"),
        ("stride_on", "second_conv", "first_conv"),
        ("normalization", "imagenet_rgb", "caffe_bgr"),
    ],
)
def test_a_checkpoint_that_was_trained_with_another_model_is_refused_with_both_sides_named(
    tmp_path: Path, key: str, was: str, now: str
) -> None:
    save_checkpoint(tmp_path / "a.pth", **{key: was})
    with pytest.raises(UserError, match=rf"a\.pth: was trained with model\.{key} '{was}', but it is '{now}'"):
        load(small_network(), tmp_path / "a.pth", CAFFE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "epoch": 3}, "holds no plain state dict"),
        ([1, 2], "holds no plain state dict"),
        ({"encoder.weight": torch.zeros(2)}, "does not fit this network: .* keys are missing .* 1 keys are foreign"),
        ({"segnet.conv1.weight": torch.zeros(2)}, r"foreign \(such as segnet\.conv1\.weight\)"),
    ],
)
def test_a_foreign_file_is_named_with_what_is_wrong(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=rf"foreign\.pth: .*{message}"):
        load(small_network(), tmp_path / "foreign.pth", CAFFE)


def test_features_of_another_backbone_do_not_fit(tmp_path: Path) -> None:
    mobilenet_file(tmp_path / "init.pth")
    with pytest.raises(UserError, match=r"init\.pth: does not fit this network"):
        load(small_network(), tmp_path / "init.pth", MOBILENET)


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def get_state_dict(self, **_: object) -> None:
            raise OSError("<urlopen error Name or service not known>")

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: {"IMAGENET1K_V1": Unreachable()})
    with pytest.raises(
        UserError, match=r"mobilenet_v2 could not be fetched .*fetch the file elsewhere and give its path"
    ):
        load(small_network(backbone="mobilenet_v2"), "imagenet", MOBILENET)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "mobilenet_v2"])
def test_torchvision_offers_imagenet_weights_by_the_name_that_we_ask_for(backbone: str) -> None:
    weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    assert weights.url.startswith("https://")


def test_the_real_mobilenet_features_load() -> None:
    path = os.environ.get("DSTC_REAL_WEIGHTS")
    if not path:
        pytest.skip("DSTC_REAL_WEIGHTS is not set: it names a file of torchvision's MobileNetV2 features")
    network = small_network(backbone="mobilenet_v2")
    load(network, path, MOBILENET)
    for name, value in torch.load(path, weights_only=True).items():
        assert torch.equal(network.state_dict()[f"backbone.{name}"], value)
