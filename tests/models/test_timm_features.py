"""timm's networks as backbones, with random weights: built, loaded, trained, exported. Skipped where timm is absent."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstc.config.params import read_params
from dstc.core.errors import UserError
from dstc.models.backbones import BACKBONES
from dstc.models.checkpoints import read_tensors
from dstc.models.deeplab_v2 import DeepLabV2, build_backbone
from dstc.models.normalization import NORMALIZATIONS
from dstc.models.weights import initial_weights
from tests.models.small import small_network

NAMES = [name for name, backbone in BACKBONES.items() if backbone.timm_weights]
FORM = {"stride_on": "first_conv", "output_stride": 8, "normalization": "imagenet_rgb"}


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed: pip install timm")


def image(height: int, width: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def file_of(timm: Any, name: str) -> dict[str, Tensor]:
    """What a file that timm publishes holds: the network under timm's own names, with the classifier it was trained with."""
    state = timm.create_model(name, num_classes=10).state_dict()
    generator = torch.Generator().manual_seed(5)
    return {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in state.items()
    }


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", NAMES)
def test_features_of_any_size_of_image_are_finite_and_have_a_gradient_everywhere(name: str) -> None:
    backbone = build_backbone(name, stride_on="first_conv", output_stride=8).train()
    features = backbone(image(37, 50, count=2))
    assert features.shape == (2, backbone.out_channels, 5, 7)
    features.square().mean().backward()
    assert features.isfinite().all()
    without = [key for key, parameter in backbone.named_parameters() if parameter.grad is None]
    assert without == []


@torch.no_grad()
@pytest.mark.parametrize(("stride", "maps"), [(8, (1, 2, 3)), (16, (2, 3))])
def test_a_network_that_cannot_dilate_gives_its_maps_enlarged_side_by_side(
    timm: Any, stride: int, maps: tuple[int, ...]
) -> None:
    backbone = build_backbone("pvt_v2_b2", stride_on="first_conv", output_stride=stride).eval()
    pixels = image(64, 96)
    plain = timm.create_model("pvt_v2_b2", num_classes=0)
    plain.load_state_dict({key.removeprefix("pyramid.model."): value for key, value in backbone.state_dict().items()})
    own = plain.eval().forward_intermediates(pixels, intermediates_only=True)
    expected = [
        nn.functional.interpolate(own[number], size=(64 // stride, 96 // stride), mode="bilinear") for number in maps
    ]
    torch.testing.assert_close(backbone(pixels), torch.cat(expected, dim=1))


@pytest.mark.usefixtures("timm")
def test_a_network_without_the_output_stride_says_so() -> None:
    from dstc.models.timm_features import TimmFeatures

    with pytest.raises(UserError, match=r"model\.output_stride 8: timm's pvt_v2_b0 cannot be built with it"):
        TimmFeatures("pvt_v2_b0", dilated=True, output_stride=8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_timm_fills_the_backbone_and_is_refused_with_another_normalization(
    timm: Any, tmp_path: Path, name: str, suffix: str
) -> None:
    from safetensors.torch import save_file

    path, state = tmp_path / f"model{suffix}", file_of(timm, name)
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    weights, network = initial_weights(str(path), name), small_network(backbone=name)
    assert weights is not None
    with pytest.raises(UserError, match=r"is a network of timm, made for model\.normalization 'imagenet_rgb', but"):
        weights.fill(network, FORM | {"backbone": name, "normalization": "caffe_bgr"})
    weights.fill(network, FORM | {"backbone": name})
    loaded = {key.removeprefix("backbone.pyramid.model."): value for key, value in network.state_dict().items()}
    left = [key for key, value in state.items() if key not in loaded or not torch.equal(loaded[key], value)]
    assert all(key.startswith(("head.", "fc.")) for key in left), left


def test_a_file_of_one_network_of_timm_does_not_fit_another(timm: Any, tmp_path: Path) -> None:
    torch.save(file_of(timm, "pvt_v2_b0"), tmp_path / "b0.pth")
    weights = initial_weights(str(tmp_path / "b0.pth"), "pvt_v2_b2")
    assert weights is not None
    with pytest.raises(UserError, match=r"b0\.pth: is a network of timm and does not fit model\.backbone 'pvt_v2_b2'"):
        weights.fill(small_network(backbone="pvt_v2_b2"), FORM | {"backbone": "pvt_v2_b2"})


@pytest.mark.usefixtures("timm")
def test_a_broken_safetensors_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read as weights"):
        read_tensors(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"no\.safetensors: no such file of weights"):
        read_tensors(tmp_path / "no.safetensors")


# --- timm's weights by name


def offer(
    timm: Any, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor] | Exception, **made_for: Any
) -> list[str]:
    """Stand in for timm's fetching; returns the list of what was asked for."""
    asked: list[str] = []

    def create_model(name: str, *, pretrained: bool) -> Any:
        assert pretrained
        asked.append(name)
        if isinstance(state, Exception):
            raise state
        usual = timm.get_pretrained_cfg(name)
        return SimpleNamespace(
            state_dict=lambda: state, pretrained_cfg={"mean": usual.mean, "std": usual.std} | made_for
        )

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


@pytest.mark.parametrize("name", NAMES)
def test_timms_weights_load_by_name_and_are_the_ones_made_for_imagenet_rgb(
    timm: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    network, state = small_network(backbone=name), file_of(timm, name)
    asked = offer(timm, monkeypatch, state)
    weights = initial_weights("imagenet", name)
    assert weights is not None
    weights.fill(network, FORM | {"backbone": name})
    assert asked == [BACKBONES[name].timm_weights]
    assert weights.made_for == {"normalization": "imagenet_rgb"}
    first = next(iter(state))
    assert torch.equal(network.state_dict()[f"backbone.pyramid.model.{first}"], state[first])


def test_weights_that_were_made_for_another_normalization_are_refused(
    timm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = NORMALIZATIONS["imagenet_rgb"]
    assert (n.mean, n.std) == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    offer(timm, monkeypatch, {}, mean=(0.5, 0.5, 0.5))
    with pytest.raises(UserError, match=r"resnet50d\.ra2_in1k were made for the mean \(0\.5, 0\.5, 0\.5\)"):
        initial_weights("imagenet", "resnet50d")


def test_weights_that_cannot_be_fetched_say_what_to_do(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(timm, monkeypatch, RuntimeError("no route\nand more"))
    message = r"'imagenet': timm's weights pvt_v2_b2\.in1k could not be fetched \(no route\); fetch model\.safetensors"
    with pytest.raises(UserError, match=message):
        initial_weights("imagenet", "pvt_v2_b2")


# --- BatchNorm's parameters


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["convnext_tiny", "pvt_v2_b2"])
def test_batch_norm_parameters_change_nothing_in_networks_of_layer_norms(name: str) -> None:
    def trainable_and_logits(**parameters: str) -> tuple[list[str], Tensor]:
        network: DeepLabV2 = small_network(backbone=name, **parameters).train()
        names = [key for key, parameter in network.named_parameters() if parameter.requires_grad]
        return names, network(image(32, 32))

    names, logits = trainable_and_logits(batch_norm_affine="trained", batch_norm_statistics="batch")
    others, same = trainable_and_logits(batch_norm_affine="frozen", batch_norm_statistics="running")
    assert names == others
    assert torch.equal(logits, same)


# --- without timm


def test_without_timm_the_parameter_and_the_cure_are_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    message = r"model\.backbone 'convnext_tiny' is a network of timm, which is not installed here: pip install timm"
    with pytest.raises(UserError, match=message):
        build_backbone("convnext_tiny", stride_on="first_conv", output_stride=8)
    text = Path("params.yaml").read_text().replace("backbone: narrow_resnet", "backbone: convnext_tiny")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_params(tmp_path / "params.yaml")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", NAMES)
def test_only_the_first_version_of_imagenet_weights_has_a_name(tmp_path: Path, name: str) -> None:
    text = Path("params.yaml").read_text().replace("backbone: narrow_resnet", f"backbone: {name}")
    (tmp_path / "params.yaml").write_text(text.replace("initial_weights: none", "initial_weights: imagenet"))
    assert read_params(tmp_path / "params.yaml").model.backbone == name
    (tmp_path / "params.yaml").write_text(text.replace("initial_weights: none", "initial_weights: imagenet_v2"))
    with pytest.raises(UserError, match=rf"'imagenet_v2': there are none for '{name}'; use 'imagenet', 'none' or a"):
        read_params(tmp_path / "params.yaml")
