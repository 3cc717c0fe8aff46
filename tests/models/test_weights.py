"""Files of weights with random values in the forms that are about: what is loaded, and what is refused."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from dstc.core.errors import UserError
from dstc.core.taxonomy import CITYSCAPES_19, SYNTHIA_16
from dstc.models.checkpoints import save_network
from dstc.models.segmentation import SegmentationNetwork, build_network
from dstc.models.weights import initial_weights, read_checkpoint, read_weights
from tests.golden.recorded import arrays
from tests.models.small import small_network

CAFFE: dict[str, Any] = {
    "backbone": "resnet50",
    "head": "deeplab_v2",
    "levels": None,
    "head_channels": None,
    "stride_on": "first_conv",
    "output_stride": 8,
    "normalization": "caffe_bgr",
    "atrous_rates": [6, 12, 18, 24],
}
TORCHVISION = CAFFE | {"stride_on": "second_conv", "normalization": "imagenet_rgb"}
MOBILENET = TORCHVISION | {"backbone": "mobilenet_v2"}
NARROW = CAFFE | {"backbone": "narrow_resnet"}
Form = dict[str, Any]
Write = Callable[[Path], dict[str, Tensor]]


def network_of(form: Form, num_classes: int = 19) -> SegmentationNetwork:
    return build_network(
        form["backbone"],
        num_classes,
        stride_on=form["stride_on"],
        output_stride=form["output_stride"],
        atrous_rates=form["atrous_rates"],
        batch_norm_affine="frozen",
        batch_norm_statistics="batch",
        precision="fp32",
        seed=0,
    )


# --- files with the names and shapes of the real ones; torch stores a value that is repeated only once


def torchvisions_state(architecture: str) -> dict[str, Tensor]:
    """torchvision's own names and shapes, classifier included, a random value for each."""
    with torch.device("meta"):
        state = torchvision.models.get_model(architecture).state_dict()
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.rand(1, generator=generator).expand(value.shape)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")  # files of that age know no such counters
    }


def backbone_state(architecture: str = "resnet50") -> dict[str, Tensor]:
    """The same by the names of our backbone."""
    state = torchvisions_state(architecture)
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}


def four_classifiers(outputs: int) -> dict[str, Tensor]:
    shapes = {"weight": (outputs, 2048, 3, 3), "bias": (outputs,)}
    return {f"{i}.{part}": torch.rand(1).expand(shape) for i in range(4) for part, shape in shapes.items()}


def caffe_file(path: Path) -> dict[str, Tensor]:
    """DeepLab_resnet_pretrained_init: a first component `Scale.`, and a classifier of another task."""
    state = backbone_state()
    head = {f"layer5.conv2d_list.{name}": value for name, value in four_classifiers(21).items()}
    torch.save({f"Scale.{name}": value for name, value in (state | head).items()}, path)
    return {f"backbone.{name}": value for name, value in state.items()}


def torchvision_file(path: Path) -> dict[str, Tensor]:
    torch.save(torchvisions_state("resnet50"), path)
    return {f"backbone.{name}": value for name, value in backbone_state().items()}


def plain_file(path: Path) -> dict[str, Tensor]:
    """A ResNet's state dict as people keep it: without the classifier of its task, with BatchNorm's counters."""
    state = backbone_state()
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in state if "_mean" in name
    }
    torch.save(state | counters, path)
    return {f"backbone.{name}": value for name, value in (state | counters).items()}


def mobilenet_file(path: Path) -> dict[str, Tensor]:
    torch.save(torchvisions_state("mobilenet_v2"), path)
    return {f"backbone.{name}": value for name, value in backbone_state("mobilenet_v2").items()}


def features_file(path: Path) -> dict[str, Tensor]:
    """MobileNetV2's features alone, as a file of features holds them."""
    state = backbone_state("mobilenet_v2")
    torch.save(state, path)
    return {f"backbone.{name}": value for name, value in state.items()}


def released_file(path: Path, outputs: int = 19) -> dict[str, Tensor]:
    """The released code saves the state dict of a module that holds its network as `segnet`."""
    state, head = backbone_state(), four_classifiers(outputs)
    released = state | {f"layer6.conv2d_list.{name}": value for name, value in head.items()}
    torch.save({f"segnet.{name}": value for name, value in released.items()}, path)
    own = {f"backbone.{name}": value for name, value in state.items()}
    return own | {f"classifier.{name}": value for name, value in head.items()}


FILES = [
    (caffe_file, CAFFE),
    (torchvision_file, TORCHVISION),
    (plain_file, TORCHVISION),
    (mobilenet_file, MOBILENET),
    (features_file, MOBILENET),
    (released_file, CAFFE),
]


def load(network: SegmentationNetwork, path: Path | str, form: Form) -> None:
    weights = initial_weights(str(path), form["backbone"])
    if weights is not None:
        weights.fill(network, form)


def state_of(network: SegmentationNetwork) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_unchanged(network: SegmentationNetwork, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# --- what is loaded


@pytest.mark.parametrize(("write", "form"), FILES)
def test_a_file_of_a_known_kind_fills_what_it_holds_and_leaves_the_rest(
    tmp_path: Path, write: Write, form: Form
) -> None:
    expected = write(tmp_path / "init.pth")
    network = network_of(form)
    before = state_of(network)
    load(network, tmp_path / "init.pth", form)
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected.get(name, before[name])), name
    left = {name.split(".")[0] for name in before.keys() - expected.keys() if "num_batches_tracked" not in name}
    assert left == (set() if write is released_file else {"classifier"})


@pytest.mark.parametrize("write", [caffe_file, torchvision_file, mobilenet_file])
def test_weights_of_a_backbone_go_with_either_output_stride(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "init.pth")
    form = dict(FILES)[write] | {"output_stride": 16}
    network = network_of(form)
    load(network, tmp_path / "init.pth", form)
    assert network.output_stride == 16


WRAPPERS: list[Callable[[dict[str, Tensor]], Any]] = [
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state, "optimizer": {"step": 1}},
    lambda state: {"model": {"state_dict": state}},
    lambda state: {f"module.{name}": value for name, value in state.items()},
    lambda state: {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}},
    lambda state: {  # Lightning
        "state_dict": {f"model.backbone.{name}": value for name, value in state.items()}
        | {"loss.weight": torch.ones(3)},
        "pytorch-lightning_version": "2.5",
    },
    lambda state: (
        {f"backbone.{name}": value for name, value in state.items()}
        | {"decode_head.conv_seg.weight": torch.zeros(19, 512, 1, 1)}
    ),
    lambda state: {f"encoder.{name}": value for name, value in state.items()} | {"decoder.weight": torch.zeros(2)},
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_what_other_programs_put_around_a_state_dict_is_taken_off(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "init.pth"
    expected = features_file(path)
    torch.save(wrap(torch.load(path, weights_only=True)), path)
    network = network_of(MOBILENET)
    load(network, path, MOBILENET)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert read_weights(path).kind == "MobileNetV2 features of torchvision"


def test_a_wrapped_checkpoint_of_the_released_code_is_one(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    released_file(path)
    state = torch.load(path, weights_only=True)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    assert read_checkpoint(path).kind == "a checkpoint of the released code"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_of_this_project_alone_is_refused_because_nothing_in_it_tells_its_form(
    tmp_path: Path, prefix: str
) -> None:
    state = {f"{prefix}{name}": value for name, value in small_network().state_dict().items()}
    torch.save(state, tmp_path / "own.pth")
    with pytest.raises(UserError, match=r"own\.pth: holds a network of this project without its description; give the"):
        load(small_network(), tmp_path / "own.pth", NARROW)


def test_none_leaves_the_random_weights() -> None:
    network = small_network()
    before = state_of(network)
    load(network, "none", NARROW)
    assert_unchanged(network, before)


@torch.no_grad()
@pytest.mark.parametrize("branch", ["net1", "net2"])
def test_a_checkpoint_of_the_released_code_gives_its_recorded_logits(tmp_path: Path, branch: str) -> None:
    state = {f"segnet.{name}": torch.from_numpy(value) for name, value in arrays(f"weights_{branch}").items()}
    torch.save(state, tmp_path / "best.pth")
    weights, network = read_checkpoint(tmp_path / "best.pth"), network_of(NARROW)
    weights.fill(network, NARROW)
    logits = network.eval()(torch.from_numpy(arrays("inputs")["image_u"]))
    expected = torch.from_numpy(arrays("forward")[f"{branch}.image_u.eval.logits"])
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(("outputs", "classes"), [(19, CITYSCAPES_19), (16, SYNTHIA_16)])
def test_the_outputs_of_a_released_checkpoint_say_which_classes_they_are(
    tmp_path: Path, outputs: int, classes: Any
) -> None:
    released_file(tmp_path / "best.pth", outputs)
    assert read_checkpoint(tmp_path / "best.pth").classes == classes.names


def save_checkpoint(path: Path, **model: Any) -> SegmentationNetwork:
    network = small_network(3)
    save_network(path, network, {"classes": ["road"], "model": NARROW | model})
    return network


def test_a_checkpoint_of_this_project_fills_the_whole_network(tmp_path: Path) -> None:
    saved, network = save_checkpoint(tmp_path / "a.pth"), small_network(4)
    load(network, tmp_path / "a.pth", NARROW)
    assert_unchanged(network, state_of(saved))


@pytest.mark.parametrize("parameter", ["output_stride", "atrous_rates", "head", "levels", "head_channels"])
def test_a_checkpoint_of_before_this_was_a_parameter_has_the_released_value(tmp_path: Path, parameter: str) -> None:
    model = {key: value for key, value in NARROW.items() if key != parameter}
    save_network(tmp_path / "a.pth", small_network(3), {"classes": ["road"], "model": model})
    assert read_checkpoint(tmp_path / "a.pth").made_for == NARROW


# --- what is refused


@pytest.mark.parametrize(
    ("write", "change", "named"),
    [
        (caffe_file, {"stride_on": "second_conv"}, ("Caffe", "stride_on 'first_conv'", "'second_conv'")),
        (caffe_file, {"normalization": "imagenet_rgb"}, ("Caffe", "normalization 'caffe_bgr'", "'imagenet_rgb'")),
        (torchvision_file, {"stride_on": "first_conv"}, ("torchvision", "stride_on 'second_conv'", "'first_conv'")),
        (torchvision_file, {"normalization": "caffe_bgr"}, ("torchvision", "'imagenet_rgb'", "'caffe_bgr'")),
        (plain_file, {"stride_on": "first_conv"}, ("torchvision", "stride_on 'second_conv'", "'first_conv'")),
        (plain_file, {"backbone": "resnet101"}, ("torchvision", "does not fit model.backbone 'resnet101'")),
        (mobilenet_file, {"normalization": "caffe_bgr"}, ("MobileNetV2", "'imagenet_rgb'", "'caffe_bgr'")),
        (released_file, {"stride_on": "second_conv"}, ("released", "stride_on 'first_conv'", "'second_conv'")),
        (released_file, {"normalization": "imagenet_rgb"}, ("released", "'caffe_bgr'", "'imagenet_rgb'")),
        (released_file, {"output_stride": 16}, ("released", "output_stride '8'", "'16'")),
        (released_file, {"atrous_rates": [6]}, ("released", "atrous_rates '[6, 12, 18, 24]'", "'[6]'")),
        (released_file, {"backbone": "narrow_resnet"}, ("released", "does not fit model.backbone 'narrow_resnet'")),
        (mobilenet_file, {"backbone": "narrow_resnet"}, ("MobileNetV2", "does not fit", "'narrow_resnet'")),
    ],
)
def test_a_form_that_the_file_was_not_made_for_is_refused_with_both_sides_named(
    tmp_path: Path, write: Write, change: Form, named: tuple[str, ...]
) -> None:
    write(tmp_path / "init.pth")
    network = small_network()
    before = state_of(network)
    with pytest.raises(UserError, match=r"init\.pth") as error:
        load(network, tmp_path / "init.pth", dict(FILES)[write] | change)
    assert all(word in str(error.value) for word in named), error.value
    assert_unchanged(network, before)


@pytest.mark.parametrize(
    ("key", "was", "now"),
    [
        ("backbone", "resnet101", "narrow_resnet"),
        ("stride_on", "second_conv", "first_conv"),
        ("output_stride", 16, 8),
        ("atrous_rates", [6, 12, 18, 23], [6, 12, 18, 24]),
        ("normalization", "imagenet_rgb", "caffe_bgr"),
    ],
)
def test_a_checkpoint_that_was_trained_in_another_form_is_refused_with_both_sides_named(
    tmp_path: Path, key: str, was: Any, now: Any
) -> None:
    save_checkpoint(tmp_path / "a.pth", **{key: was})
    message = f"a.pth: is a checkpoint of this project, made for model.{key} '{was}', but it is '{now}'"
    with pytest.raises(UserError, match=re.escape(message)):
        load(small_network(), tmp_path / "a.pth", NARROW)


def test_a_checkpoint_of_a_backbone_that_is_no_more_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pth", backbone="resnet152")
    with pytest.raises(
        UserError, match=r"a\.pth: was trained with model\.backbone 'resnet152', which .* does not have"
    ):
        read_checkpoint(tmp_path / "a.pth")


def test_a_released_checkpoint_of_other_outputs_is_refused_with_both_numbers(tmp_path: Path) -> None:
    released_file(tmp_path / "best.pth", 16)
    with pytest.raises(UserError, match=r"classifier\.0\.weight is \(16, 2048, 3, 3\), the network's is \(19, 2048"):
        load(network_of(CAFFE), tmp_path / "best.pth", CAFFE)
    released_file(tmp_path / "best.pth", 21)
    with pytest.raises(UserError, match=r"released code, whose layer6 must have 19 or 16 outputs, not 21"):
        read_weights(tmp_path / "best.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "epoch": 3}, "holds no plain state dict"),
        ([1, 2], "holds no plain state dict"),
        (
            {"trunk.weight": torch.zeros(2)},
            r"of no known kind and does not fit .* keys are missing .* 1 keys are foreign \(such as trunk\.weight\)",
        ),
        ({"segnet.conv1.weight": torch.zeros(2)}, "released code, whose layer6 must have 19 or 16 outputs, not 0"),
    ],
)
def test_a_foreign_file_is_named_with_what_is_wrong(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=rf"foreign\.pth: .*{message}"):
        load(small_network(), tmp_path / "foreign.pth", NARROW)


@pytest.mark.parametrize("write", [caffe_file, torchvision_file, mobilenet_file])
def test_weights_without_a_classifier_are_no_checkpoint(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "init.pth")
    with pytest.raises(UserError, match=r"init\.pth: is .*, not a checkpoint of this project or of the released code"):
        read_checkpoint(tmp_path / "init.pth")


# --- torchvision's, by name


class Offered:
    """What stands in for torchvision's weights: it remembers which were asked for."""

    def __init__(self, state: dict[str, Tensor] | None) -> None:
        self.state, self.asked = state, ""

    def __getitem__(self, name: str) -> "Offered":
        self.asked = name
        return self

    def get_state_dict(self, **_: object) -> dict[str, Tensor]:
        if self.state is None:
            raise OSError("<urlopen error Name or service not known>")
        return self.state


@pytest.mark.parametrize(("name", "asked"), [("imagenet", "IMAGENET1K_V1"), ("imagenet_v2", "IMAGENET1K_V2")])
@pytest.mark.parametrize("resnet", ["resnet50", "resnet101"])
def test_both_versions_of_torchvisions_weights_load_by_name(
    monkeypatch: pytest.MonkeyPatch, resnet: str, name: str, asked: str
) -> None:
    offered = Offered(torchvisions_state(resnet))
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: offered)
    form = TORCHVISION | {"backbone": resnet}
    network = network_of(form)
    load(network, name, form)
    assert offered.asked == asked
    for key, value in backbone_state(resnet).items():
        assert torch.equal(network.backbone.state_dict()[key], value)
    with pytest.raises(UserError, match=rf"model\.initial_weights '{name}': is a ResNet .*'second_conv'"):
        load(network, name, form | {"stride_on": "first_conv"})


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: Offered(None))
    with pytest.raises(
        UserError, match=r"mobilenet_v2 could not be fetched .*fetch the file elsewhere and give its path"
    ):
        load(small_network(backbone="mobilenet_v2"), "imagenet", MOBILENET)


def test_the_real_mobilenet_features_load() -> None:
    path = os.environ.get("DSTC_REAL_WEIGHTS")
    if not path:
        pytest.skip("DSTC_REAL_WEIGHTS is not set: it names a file of torchvision's MobileNetV2 features")
    network = small_network(backbone="mobilenet_v2")
    load(network, path, MOBILENET)
    for name, value in torch.load(path, weights_only=True).items():
        assert torch.equal(network.state_dict()[f"backbone.{name}"], value)
