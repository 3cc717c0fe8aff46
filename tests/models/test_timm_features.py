"""timm's networks as backbones, with random weights: built, loaded, trained, exported. Skipped where timm is absent."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstc.config.params import check_params, read_params
from dstc.core.errors import UserError
from dstc.models.backbones import BACKBONES
from dstc.models.checkpoints import read_tensors
from dstc.models.heads import side_by_side
from dstc.models.normalization import NORMALIZATIONS
from dstc.models.segmentation import SegmentationNetwork, build_backbone
from dstc.models.timm_features import network_problem
from dstc.models.weights import initial_weights
from tests.models.small import small_network
from tests.preparation.trees import raw_params

NAMES = [name for name, entry in BACKBONES.items() if entry.of_timm and not name.endswith("_base")]  # those are large
FORM = {
    "head": "deeplab_v2",
    "levels": None,
    "head_channels": None,
    "stride_on": "first_conv",
    "output_stride": 8,
    "normalization": "imagenet_rgb",
}


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed: pip install timm")


def image(height: int, width: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def architecture_of(name: str) -> str:
    return str(BACKBONES[name].options["architecture"])


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
    maps = backbone(image(37, 50, count=2))
    torch.stack([features.square().mean() for features in maps]).sum().backward()
    for features, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert features.shape == (2, channels, -(-37 // stride), -(-50 // stride))
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
    found = side_by_side(backbone(pixels), backbone.strides)
    torch.testing.assert_close(found, torch.cat(expected, dim=1))


@pytest.mark.parametrize(("name", "suffix"), [("pvt_v2_b2", ".safetensors"), *((name, ".pth") for name in NAMES)])
def test_a_file_of_timm_fills_the_backbone_and_is_refused_with_another_normalization(
    timm: Any, tmp_path: Path, name: str, suffix: str
) -> None:
    from safetensors.torch import save_file

    path, state = tmp_path / f"model{suffix}", file_of(timm, architecture_of(name))
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    weights, network = initial_weights(str(path), name), small_network(backbone=name)
    assert weights is not None
    with pytest.raises(UserError, match=r"is a network of timm, made for model\.normalization 'imagenet_rgb', but"):
        weights.fill(network, FORM | {"backbone": name, "normalization": "caffe_bgr"})
    weights.fill(network, FORM | {"backbone": name})
    loaded = {key.removeprefix("backbone.pyramid.model."): value for key, value in network.state_dict().items()}
    left = [key for key, value in state.items() if key not in loaded or not torch.equal(loaded[key], value)]
    assert all(key.startswith(("head.", "fc.", "norm_pre.")) for key in left), left


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


def offer(timm: Any, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor] | Exception) -> list[str]:
    """Stand in for timm's fetching; returns the list of what was asked for."""
    asked: list[str] = []
    real = timm.create_model

    def create_model(name: str, *, pretrained: bool = False, **options: Any) -> Any:
        if not pretrained:
            return real(name, **options)
        asked.append(name)
        if isinstance(state, Exception):
            raise state
        return SimpleNamespace(state_dict=lambda: state)

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


@pytest.mark.parametrize("name", NAMES)
def test_timms_weights_load_by_name_and_are_the_ones_made_for_imagenet_rgb(
    timm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    network, state = small_network(backbone=name), file_of(timm, architecture_of(name))
    asked = offer(timm, monkeypatch, state)
    weights = initial_weights(BACKBONES[name].timm_weights_are, name)
    assert weights is not None
    weights.fill(network, FORM | {"backbone": name})
    assert asked == [BACKBONES[name].timm_weights]
    licence = "dinov3-license" if "dinov3" in name else "apache-2.0|mit|cc-by-nc"
    assert re.search(rf"{BACKBONES[name].timm_weights} of timm; licence ({licence})", capsys.readouterr().out)
    assert weights.made_for == {"normalization": "imagenet_rgb"}
    first = next(iter(state))
    assert torch.equal(network.state_dict()[f"backbone.pyramid.model.{first}"], state[first])


def test_weights_that_were_made_for_another_normalization_are_refused(
    timm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = NORMALIZATIONS["imagenet_rgb"]
    assert (n.mean, n.std) == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    asked = offer(timm, monkeypatch, {})
    with pytest.raises(
        UserError, match=r"'pretrained': .* test_vit\.r160_in1k were made for the mean \(0\.5, 0\.5, 0\.5\)"
    ):
        initial_weights("pretrained", "timm/test_vit.r160_in1k")
    assert asked == []


def test_weights_that_cannot_be_fetched_say_what_to_do(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(timm, monkeypatch, RuntimeError("no route\nand more"))
    message = r"'imagenet': timm's weights pvt_v2_b2\.in1k could not be fetched \(no route\); fetch model\.safetensors"
    with pytest.raises(UserError, match=message):
        initial_weights("imagenet", "pvt_v2_b2")


# --- transformers


def plain(timm: Any, name: str, state: dict[str, Tensor], size: tuple[int, int]) -> Any:
    """timm's own network for images of this size alone, its positions fitted by hand."""
    network = timm.create_model(architecture_of(name), num_classes=0, img_size=size)
    patch = BACKBONES[name].patch
    if "pos_embed" in state:
        of_class, of_patches = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
        side = int(of_patches.shape[1] ** 0.5)
        grid = of_patches.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        fitted = nn.functional.interpolate(
            grid, size=(size[0] // patch, size[1] // patch), mode="bicubic", antialias=True
        )
        state = state | {"pos_embed": torch.cat([of_class, fitted.flatten(2).transpose(1, 2)], dim=1)}
    network.load_state_dict(state)
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["dinov2_small", "dinov3_small"])
def test_features_of_an_odd_image_are_those_of_timms_own_forward_on_whole_patches(timm: Any, name: str) -> None:
    backbone = build_backbone(name, stride_on="first_conv", output_stride=8).eval()
    patch, pixels = BACKBONES[name].patch, image(37, 61, count=2)
    rows, columns = -(-37 // patch), -(-61 // patch)
    whole = torch.zeros(2, 3, rows * patch, columns * patch)
    whole[..., :37, :61] = pixels
    state = {key.removeprefix("pyramid.model."): value for key, value in backbone.state_dict().items()}
    tokens = plain(timm, name, state, (rows * patch, columns * patch)).forward_features(whole)
    expected = tokens[:, -rows * columns :].unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
    (features,) = backbone(pixels)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("name", "levels"), [("dinov2_small", [2, 5, 8, 11]), ("dinov3_convnext_tiny", [0, 1, 2, 3])])
def test_a_pyramid_has_four_levels_as_timm_gives_them(timm: Any, name: str, levels: list[int]) -> None:
    backbone = build_backbone(name, stride_on="first_conv", output_stride=8, head="dpt").eval()
    state = {key.removeprefix("pyramid.model."): value for key, value in backbone.state_dict().items()}
    size, of_one_stride = ((56, 84), True) if BACKBONES[name].patch else ((64, 96), False)
    if of_one_stride:
        network = plain(timm, name, state, size)
    else:
        network = timm.create_model(architecture_of(name), num_classes=0).eval()
        network.load_state_dict(state, strict=False)  # it has a normalization after its features
    expected = network.forward_intermediates(image(*size), indices=levels, norm=of_one_stride, intermediates_only=True)
    for own, other in zip(backbone(image(*size)), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def by_names_of_dinov2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"mask_token": torch.ones(1, 384)}


def by_names_of_dinov2_with_registers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors add a position to the class token, which timm has in the token itself."""
    of_class = torch.full((1, 1, 384), 0.25)
    own = {key: value for key, value in state.items() if key not in ("reg_token", "cls_token", "pos_embed")}
    return own | {
        "mask_token": torch.ones(1, 384),
        "register_tokens": state["reg_token"],
        "cls_token": state["cls_token"] - of_class,
        "pos_embed": torch.cat([of_class, state["pos_embed"]], dim=1),
    }


def by_names_of_dinov3(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {
        key.replace("gamma_1", "ls1.gamma")
        .replace("gamma_2", "ls2.gamma")
        .replace("reg_token", "storage_tokens"): value
        for key, value in state.items()
    }
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    biases = {f"blocks.{block}.attn.qkv.bias{end}": torch.zeros(1152) for block in blocks for end in ("", "_mask")}
    return renamed | biases | {"mask_token": torch.ones(1, 384), "rope_embed.periods": torch.ones(16)}


def by_names_of_convnext(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        name = re.sub(r"^stem\.", "downsample_layers.0.", key)
        name = re.sub(r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name)
        name = re.sub(r"^stages\.(\d+)\.blocks\.", r"stages.\1.", name)
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        renamed[name] = value
    return renamed | {"norm.weight": torch.ones(768), "norm.bias": torch.zeros(768)}


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "by_names_of_authors"),
    [
        ("dinov2_small", by_names_of_dinov2),
        ("timm/vit_small_patch14_reg4_dinov2", by_names_of_dinov2_with_registers),
        ("dinov3_small", by_names_of_dinov3),
        ("dinov3_convnext_tiny", by_names_of_convnext),
    ],
)
@pytest.mark.usefixtures("timm")
def test_a_file_by_the_authors_names_gives_the_same_features(
    tmp_path: Path, name: str, by_names_of_authors: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    first, second = (small_network(seed, backbone=name).eval() for seed in (1, 2))
    state = {key.removeprefix("pyramid.model."): value for key, value in first.backbone.state_dict().items()}
    torch.save(by_names_of_authors(state), tmp_path / "authors.pth")
    weights = initial_weights(str(tmp_path / "authors.pth"), name)
    assert weights is not None
    weights.fill(second, FORM | {"backbone": name})
    (expected,), (found,) = first.backbone(image(40, 30)), second.backbone(image(40, 30))
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("timm")
def test_a_file_with_positions_for_another_size_of_image_is_fitted(tmp_path: Path) -> None:
    network = small_network(backbone="timm/test_vit")
    state = {key.removeprefix("pyramid.model."): value for key, value in network.backbone.state_dict().items()}
    assert state["pos_embed"].shape == (1, 101, 64)
    torch.save(state | {"pos_embed": torch.ones(1, 26, 64)}, tmp_path / "smaller.pth")
    weights = initial_weights(str(tmp_path / "smaller.pth"), "timm/test_vit")
    assert weights is not None
    weights.fill(network, FORM | {"backbone": "timm/test_vit"})
    torch.testing.assert_close(network.backbone.state_dict()["pyramid.model.pos_embed"], torch.ones(1, 101, 64))


@pytest.mark.usefixtures("timm")
def test_a_file_of_the_whole_network_fills_levels_before_its_last(timm: Any, tmp_path: Path) -> None:
    torch.save(file_of(timm, "test_vit"), tmp_path / "vit.pth")
    network = small_network(backbone="timm/test_vit", levels=[1, 3])
    weights = initial_weights(str(tmp_path / "vit.pth"), "timm/test_vit")
    assert weights is not None
    weights.fill(network, FORM | {"backbone": "timm/test_vit", "levels": None})
    assert not any(".blocks.4." in key for key in network.state_dict())
    assert [features.shape[1] for features in network.backbone(image(32, 32))] == [64, 64]


# --- any network of timm


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("head", ["deeplab_v2", "linear", "dpt"])
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext", "swin_s3_tiny_224"])
def test_any_network_of_timm_goes_with_every_head_and_size(name: str, head: str) -> None:
    assert network_problem(name, output_stride=16, levels=None, pyramid=head == "dpt") is None
    with torch.device("meta"):
        network = small_network(backbone=f"timm/{name}", head=head, output_stride=16)
        assert network(torch.empty(2, 3, 70, 33)).shape == (2, 5, 70, 33)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"backbone": "timm/vit_smal_patch14_dinov2"}, r"timm has no 'vit_smal_patch14_dinov2'; near are \['vit_small"),
        ({"backbone": "timm/beit_base_patch16_224"}, r"beit_base_patch16_224 cannot take images of any size \("),
        ({"backbone": "timm/test_vit", "levels": [2, 6]}, r"model\.levels: .* test_vit has, 0 to 5, not \[2, 6\]"),
        ({"backbone": "timm/test_vit", "levels": [3, 1]}, r"model\.levels: must be ascending numbers"),
        (
            {"backbone": "timm/test_vit", "head": "dpt", "levels": [1, 3]},
            r"must be 4 for model\.head 'dpt', not \[1, 3\]",
        ),
        ({"backbone": "timm/test_vit4", "initial_weights": "pretrained"}, "timm has no weights test_vit4"),
        ({"backbone": "timm/test_vit", "initial_weights": "pretrained"}, r"test_vit were made for the mean \(0\.5,"),
        (
            {"backbone": "timm/test_vit", "initial_weights": "imagenet"},
            r"'imagenet': there are none for 'timm/test_vit'",
        ),
        (
            {"backbone": "resnet50", "head": "dpt"},
            r"'dpt' needs 4, but .*'resnet50' has one level .* take a network of timm",
        ),
        (
            {"backbone": "resnet50", "levels": [3]},
            r"model\.levels are given, but model\.backbone 'resnet50' has one level",
        ),
        ({"backbone": "resnet50", "backbone_weights": "frozen"}, r"'frozen' would keep random weights"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work_with_the_reason(model: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_params(raw_params(model=model), "params.yaml")


# --- BatchNorm's parameters


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["convnext_tiny", "pvt_v2_b2", "dinov2_small"])
def test_batch_norm_parameters_change_nothing_in_networks_of_layer_norms(name: str) -> None:
    def trainable_and_logits(**parameters: str) -> tuple[list[str], Tensor]:
        network: SegmentationNetwork = small_network(backbone=name, **parameters).train()
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
def test_timms_weights_have_one_name(tmp_path: Path, name: str) -> None:
    known = BACKBONES[name].timm_weights_are
    text = Path("params.yaml").read_text().replace("backbone: narrow_resnet", f"backbone: {name}")
    (tmp_path / "params.yaml").write_text(text.replace("initial_weights: none", f"initial_weights: {known}"))
    assert read_params(tmp_path / "params.yaml").model.backbone == name
    (tmp_path / "params.yaml").write_text(text.replace("initial_weights: none", "initial_weights: imagenet_v2"))
    with pytest.raises(UserError, match=rf"'imagenet_v2': there are none for '{name}'; use '{known}', 'none' or a"):
        read_params(tmp_path / "params.yaml")
