"""Weights from files, torchvision or timm: of what kind, and for which form of network and preprocessing they are made.

Some of these load into a network of another form without an error and are wrong there, so that is refused here:

| kind | told by | stride_on | normalization | output_stride, atrous_rates |
|---|---|---|---|---|
| DeepLab init file (Caffe) | keys begin with `Scale.` | first_conv | caffe_bgr | any |
| ResNet of torchvision | `conv1.weight` at the top | second_conv | imagenet_rgb | any |
| MobileNetV2 features of torchvision | keys begin with `features.` | - | imagenet_rgb | any |
| network of timm, or of its authors | asked for by a backbone of timm | - | imagenet_rgb | any |
| checkpoint of the released code | keys begin with `segnet.` | first_conv | caffe_bgr | as released |
| checkpoint of this project | its format field | as it says | as it says | as it says |

What other programs put around a state dict is taken off first (dstc/models/wrappers.py).

Those of a network fill a backbone; checkpoints fill a network with its head, which they fix, as they fix its levels. A
file of timm does not say what normalization it was made for: it is taken to be the usual one, and it is a few of timm's
that have another (`timm.get_pretrained_cfg(name).mean` tells); of those that are fetched by name it is compared, and
their licence is printed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dstc.core.errors import UserError
from dstc.core.taxonomy import KNOWN_CLASSES
from dstc.models.backbones import IMAGENET, WEIGHTS_BY_NAME, find_backbone
from dstc.models.checkpoints import AS_RELEASED, FORMAT, described_in, load_strictly, plain_state, read_tensors
from dstc.models.segmentation import SegmentationNetwork
from dstc.models.wrappers import inner_state, without_prefixes

FORM = ("backbone", "head", "levels", "head_channels", "stride_on", "output_stride", "normalization", "atrous_rates")
"""The parameters of section `model` that belong to a network's weights."""

Form = Mapping[str, Any]
"""Values of some of them, or of all."""

_OTHER_CLASSIFIERS = ("fc.", "classifier.", "layer5.", "layer6.")  # of the tasks that backbones were trained for
_OF_TIMM, _FOR_TIMM = "a network of timm", {"normalization": "imagenet_rgb"}
_OF_OUR_HEADS = ("classifier.1.weight", "classifier.linear.weight", "classifier.output.0.weight")


@dataclass(frozen=True)
class Weights:
    """Weights under this project's names: of a whole network whose outputs are `classes`, or of a backbone alone."""

    origin: str  # the file, or the parameter that named them
    kind: str
    made_for: Form
    state: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None

    def fill(self, network: SegmentationNetwork, form: Form) -> None:
        """Load into a network of this form, or refuse, naming what the weights are made for and what the network is."""
        for key, value in self.made_for.items():
            if form[key] != value:
                raise UserError(
                    f"{self.origin}: is {self.kind}, made for model.{key} '{value}', but it is '{form[key]}'"
                )
        part = network.backbone if self.classes is None else network
        of_timm: Any = network.backbone
        state = of_timm.by_its_names(self.state) if self.kind == _OF_TIMM else self.state
        counters = {key: value for key, value in part.state_dict().items() if key.endswith("num_batches_tracked")}
        what = f"{self.origin}: is {self.kind} and does not fit model.backbone '{form['backbone']}'"
        load_strictly(part, {**counters, **state}, what)  # old files know no such counters


def initial_weights(name: str, backbone: str) -> Weights | None:
    """What model.initial_weights names: a library's weights, a file, or, by "none", nothing."""
    if name == "none":
        return None
    entry = find_backbone(backbone)
    assert entry is not None
    if name not in WEIGHTS_BY_NAME:
        return read_weights(Path(name), of_timm=entry.of_timm)
    return _from_timm(entry.timm_weights, name) if entry.of_timm else _from_torchvision(backbone, name)


def read_checkpoint(path: Path, which: str = "ema") -> Weights:
    """Read a file that holds a whole network with its classifier; of its own files, `which` of their WEIGHTS."""
    weights = read_weights(path, which)
    if weights.classes is None:
        raise UserError(
            f"{path}: is {weights.kind}, not a checkpoint of this project or of the released code; initial weights go "
            "to model.initial_weights"
        )
    return weights


def read_weights(path: Path, which: str = "last", *, of_timm: bool = False) -> Weights:
    """Read a file of any of the kinds; those of this project can hold two networks. `of_timm`: what is no checkpoint is to
    fill a backbone of timm."""
    content = read_tensors(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _of_this_project(path, *described_in(content, path, which))
    content = plain_state(inner_state(content), path)
    _refuse_without_description(path, content)
    content = without_prefixes(content)
    if any(key.startswith("segnet.") for key in content):
        return _of_the_released_code(path, content)
    return Weights(str(path), _OF_TIMM, _FOR_TIMM, content) if of_timm else _of_a_backbone(str(path), content)


def _refuse_without_description(path: Path, state: Mapping[str, Tensor]) -> None:
    """Of a network of this project, a state dict alone: nothing in it tells stride and normalization."""
    if any(
        key.endswith(_OF_OUR_HEADS) and value.ndim == 4 for key, value in state.items()
    ):  # others' have 2 dimensions
        raise UserError(
            f"{path}: holds a network of this project without its description; give the checkpoint that a stage or "
            "`python -m dstc.export` wrote"
        )


def _of_this_project(path: Path, described: Mapping[str, Any], state: Mapping[str, Tensor]) -> Weights:
    made_for = {key: described["model"].get(key) for key in FORM}
    return Weights(str(path), "a checkpoint of this project", made_for, state, classes=tuple(described["classes"]))


def _of_the_released_code(path: Path, content: Mapping[str, Tensor]) -> Weights:
    kind = "a checkpoint of the released code"
    state = {_from_released_name(key): value for key, value in content.items()}
    outputs = len(state.get("classifier.0.bias", ()))
    known = {len(classes): classes.names for classes in KNOWN_CLASSES.values()}
    if outputs not in known:
        raise UserError(
            f"{path}: is {kind}, whose layer6 must have {' or '.join(map(str, known))} outputs, not {outputs}"
        )
    made_for = {"stride_on": "first_conv", "normalization": "caffe_bgr", **AS_RELEASED}
    return Weights(str(path), kind, made_for, state, classes=known[outputs])


def _from_released_name(key: str) -> str:
    name = key.removeprefix("segnet.")
    classifier = "layer6.conv2d_list."
    return f"classifier.{name.removeprefix(classifier)}" if name.startswith(classifier) else f"backbone.{name}"


def _of_a_backbone(origin: str, content: Mapping[str, Tensor]) -> Weights:
    kind, made_for, prefix = "a state dict of no known kind", {}, ""
    if any(key.startswith("Scale.") for key in content):
        kind, prefix = "the DeepLab init file (Caffe form)", "Scale."
        made_for = {"stride_on": "first_conv", "normalization": "caffe_bgr"}
    elif any(key.startswith("features.") for key in content):
        kind, made_for = "MobileNetV2 features of torchvision", {"normalization": "imagenet_rgb"}
    elif "conv1.weight" in content:
        kind = "a ResNet of torchvision"
        made_for = {"stride_on": "second_conv", "normalization": "imagenet_rgb"}
    names = {key.removeprefix(prefix): value for key, value in content.items()}
    state = {key: value for key, value in names.items() if not key.startswith(_OTHER_CLASSIFIERS)}
    return Weights(origin, kind, made_for, state)


def _from_torchvision(backbone: str, name: str) -> Weights:
    import torchvision  # two seconds, which every other kind of weights does without

    try:
        weights = torchvision.models.get_model_weights(backbone)[IMAGENET[name]]
        return _of_a_backbone(f"model.initial_weights '{name}'", weights.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise UserError(
            f"model.initial_weights '{name}': torchvision's weights for {backbone} could not be fetched ({error}); "
            "fetch the file elsewhere and give its path"
        ) from None


def _from_timm(published: str, name: str) -> Weights:
    import timm

    from dstc.models.timm_features import weights_problem

    asked = f"model.initial_weights '{name}'"
    if problem := weights_problem(published):
        raise UserError(f"{asked}: {problem}; give the path of a file, or 'none'")
    licence = timm.get_pretrained_cfg(published).license or "not told by timm"
    print(f"{asked}: {published} of timm; licence {licence}, see https://huggingface.co/timm/{published}", flush=True)
    try:
        network = timm.create_model(published, pretrained=True)
    except Exception as error:  # of the file's own host or of the model hub, whose client raises many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{asked}: timm's weights {published} could not be fetched ({reason}); "
            f"fetch model.safetensors of timm/{published} elsewhere and give its path"
        ) from None
    return Weights(asked, _OF_TIMM, _FOR_TIMM, network.state_dict())
