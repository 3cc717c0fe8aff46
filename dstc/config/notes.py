"""What has no effect beside the other parameters: values that are allowed, of which an ablation would report nothing.

A switch is named where it is on. What a network, a crop or a table leaves unused is named whatever its value is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from dstc.config.model_rules import stride_of
from dstc.config.sections import Data, Schedule
from dstc.models.backbones import BACKBONES, LEVELS_OF_HEAD, Backbone, find_backbone

if TYPE_CHECKING:
    from dstc.config.params import Params

OFF: Mapping[str, Any] = {
    "paste_with_replacement": False,
    "alignment_counts_void": False,
    "class_mix": False,
    "cross_supervision_weight": 1,
    "color_augmentation": "none",
    "cross_supervision_start": 0,
    "confidence_threshold": 0,
    "teachers": "branches",
    "teachers_run": "in_turn",
    "update": "simultaneous",
    "lr_ramp_iterations": 0,
    "choose_checkpoint": "last",
}
"""The switches of co_train that can be off, and how they are."""

OWN_LAYOUTS = ("folders", "csv")  # those whose label values data.own names


def notes(params: Params, sections: Sequence[str]) -> list[str]:
    """A sentence for each cause, which begins with the parameters in these sections that have no effect."""
    found = [
        *_of_the_model(params),
        *_of_the_optimizer(params),
        *_of_the_trainings(params),
        *_of_co_training(params),
        *_of_the_rest(params),
    ]
    return [note for note in found if note.startswith(tuple(f"{section}." for section in sections))]


def _note(keys: Sequence[str], why: str) -> str:
    return f"{', '.join(keys)}: no effect, for {why}"


def _backbone_of(params: Params) -> Backbone:
    found = find_backbone(params.model.backbone)
    assert found is not None
    return found


def _of_the_model(params: Params) -> Iterator[str]:
    name, head, backbone = params.model.backbone, params.model.head, _backbone_of(params)
    if not backbone.bottlenecks:
        yield _note(["model.stride_on"], f"model.backbone '{name}' has no bottlenecks")
    if backbone.patch:
        yield _note(["model.output_stride"], f"model.backbone '{name}' divides by its patch of {backbone.patch}")
    elif LEVELS_OF_HEAD[head] > 1:
        yield _note(["model.output_stride"], f"model.head '{head}' takes levels of several strides")
    if head != "deeplab_v2":
        yield _note(["model.atrous_rates"], f"model.head is {head}")
    if head != "dpt" and params.model.head_channels is not None:
        yield _note(["model.head_channels"], f"model.head is {head}")
    if not backbone.batch_norm:
        keys = ["model.batch_norm_affine", "model.batch_norm_statistics"]
        keys += ["co_train.student_batch_norm", "co_train.teacher_batch_norm"]
        if params.evaluate.batch_norm == "target":
            keys.append("evaluate.batch_norm")
        yield _note(keys, f"model.backbone '{name}' has no BatchNorm")


def _of_the_optimizer(params: Params) -> Iterator[str]:
    optim = params.optim
    if optim.optimizer == "adamw":
        yield _note(["optim.momentum"], "optim.optimizer is adamw, which has its own")
    elif optim.layer_decay != 1:
        yield _note(["optim.layer_decay"], "optim.optimizer is sgd")
    if params.model.backbone_weights == "frozen":
        yield _note(["optim.backbone_multiplier", "optim.layer_decay"], "model.backbone_weights is frozen")


def _of_the_trainings(params: Params) -> Iterator[str]:
    trainings: dict[str, Schedule] = {
        "warm_up.source": params.warm_up.source,
        "warm_up.target": params.warm_up.target,
        "co_train": params.co_train,
    } | ({} if params.joint.iterations == 0 else {"joint": params.joint})
    for name, training in trainings.items():
        width, height = (ceil(side / stride_of(params.model, _backbone_of(params))) for side in training.crop)
        beyond = [rate for rate in params.model.atrous_rates if rate >= min(width, height)]
        strides_known = params.model.backbone in BACKBONES
        if beyond and strides_known and params.model.head == "deeplab_v2":
            yield (
                f"{name}.crop: of the model.atrous_rates {beyond} it trains no outer taps, for it has "
                f"{width}x{height} features; larger images have features for them in evaluation"
            )
        if params.optim.poly_power == 0 and training.schedule_iterations is not None:
            yield _note([f"{name}.schedule_iterations"], "optim.poly_power is 0")


def _of_co_training(params: Params) -> Iterator[str]:
    settings = params.co_train
    for cause, keys in _unused_switches(params):
        unused = [key for key in keys if key not in OFF or getattr(settings, key) != OFF[key]]
        if unused:
            yield _note([f"co_train.{key}" for key in unused], cause)


def _unused_switches(params: Params) -> Iterator[tuple[str, list[str]]]:
    """(why, switches of co_train)."""
    settings = params.co_train
    begins = ceil(settings.cross_supervision_start * settings.iterations) < settings.iterations
    labels = settings.cross_supervision and begins
    of_labels = [
        "class_mix",
        "color_augmentation",
        "cross_supervision_weight",
        "confidence_threshold",
        "teachers_run",
        "update",
    ]
    if not settings.cross_supervision:
        yield "co_train.cross_supervision is false", [*of_labels, "cross_supervision_start"]
    elif not begins:
        yield "co_train.cross_supervision_start is after the last iteration", [*of_labels, "cross_supervision"]
    elif settings.teachers == "averaged":
        yield "averaged teachers change after the step alone", ["teachers_run", "update"]
    elif settings.teachers_run == "first":
        yield "co_train.teachers_run is first: every pseudo-label is made before B1 steps", ["update"]
    if labels and settings.teachers == "branches" and settings.update == "simultaneous" and _statistics_stay(params):
        yield "nothing of a teacher changes before the step", ["teachers_run"]
    if not settings.alignment_weight:
        yield "co_train.alignment_weight is 0", ["alignment_counts_void"]
        if not labels:
            yield "nobody is taught without cross supervision and alignment", ["teachers", "teacher_batch_norm"]
    if settings.combination == "whole_images":
        yield "co_train.combination is whole_images", ["paste_with_replacement"]
    if settings.lr_ramp_iterations == 1:
        yield "a ramp of one iteration begins at its end", ["lr_ramp_iterations"]
    if settings.validate_every >= settings.iterations:
        yield "co_train.validate_every leaves one validation, at the end", ["choose_checkpoint"]


def _statistics_stay(params: Params) -> bool:
    """Whether no BatchNorm moves its running statistics in co-training."""
    return params.co_train.student_batch_norm == "running" or not _backbone_of(params).batch_norm


def _of_the_rest(params: Params) -> Iterator[str]:
    evaluate, resize = params.evaluate, params.data.target.resize
    if evaluate.picture_names and evaluate.pictures:
        yield _note(["evaluate.pictures"], "evaluate.picture_names names them")
    if evaluate.weights == "ema" and params.optim.ema_decay == 0:
        yield _note(["evaluate.weights"], "optim.ema_decay is 0: there are no averaged networks")
    if evaluate.window and resize:
        largest = max(evaluate.scales)
        if all(window >= round(largest * side) for window, side in zip(evaluate.window, resize, strict=True)):
            yield _note(["evaluate.window"], "no image is larger than it")
    if params.split.file is not None:
        yield _note(["split.seed"], "split.file names the labeled images")
    yield from _of_own_data(params.data)


def _of_own_data(data: Data) -> Iterator[str]:
    own = data.own
    if data.classes != "own":
        unused = [f"data.own.{key}" for key in ("class_names", "colors") if getattr(own, key)]
        if unused:
            yield _note(unused, f"data.classes is {data.classes}")
    source, target = data.source.layout in OWN_LAYOUTS, data.target.layout in OWN_LAYOUTS
    tables = {
        "labels": source or (target and own.target_labels is None),
        "ignored": source or (target and own.target_labels is None),
        "target_labels": target,
        "target_ignored": target,
        "tolerance": source or target,
    }
    unused = [f"data.own.{key}" for key, used in tables.items() if getattr(own, key) and not used]
    if unused:
        layouts = f"data.source.layout is {data.source.layout} and data.target.layout {data.target.layout}"
        yield _note(unused, layouts)
