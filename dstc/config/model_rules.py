"""What of section `model` contradicts its backbone, its weights, the crops or co-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstc.config.sections import Model
from dstc.core.errors import nearest
from dstc.models.backbones import BACKBONES, IMAGENET, Backbone, lacking

if TYPE_CHECKING:
    from dstc.config.params import Params


def model_problems(params: Params) -> list[str]:
    """What is wrong with section `model` by itself, and beside the crops and the other sections."""
    model, backbone = params.model, BACKBONES.get(params.model.backbone)
    if backbone is None:
        return [
            f"model.backbone: must be one of {', '.join(BACKBONES)}, not '{model.backbone}'"
            f"{nearest(model.backbone, BACKBONES)}"
        ]
    message = lacking(model.backbone, backbone)
    return [
        *([message] if message else []),
        *_imagenet_problems(model, backbone),
        *_crop_problems(params),
        *_statistics_problems(params),
    ]


def _imagenet_problems(model: Model, backbone: Backbone) -> list[str]:
    """What is wrong with weights by name; those in a file are judged when it is read (dstc/models/weights.py)."""
    name = f"model.initial_weights '{model.initial_weights}'"
    if model.initial_weights not in IMAGENET:
        return []
    if model.initial_weights not in backbone.weights_by_name:
        others = ", ".join(f"'{other}'" for other in (*backbone.weights_by_name, "none"))
        return [f"{name}: there are none for '{model.backbone}'; use {others} or a file"]
    whose = "timm's" if backbone.timm_weights else "torchvision's"
    if model.normalization != "imagenet_rgb":
        return [f"{name} are {whose}, made for model.normalization 'imagenet_rgb', not '{model.normalization}'"]
    if backbone.bottlenecks and model.stride_on != "second_conv":
        return [f"{name} are {whose}, made for model.stride_on 'second_conv', not '{model.stride_on}'"]
    return []


def _crop_problems(params: Params) -> list[str]:
    least = 2 * params.model.output_stride  # of features of a single pixel BatchNorm can take no statistics
    trainings = {
        "warm_up.source": params.warm_up.source,
        "warm_up.target": params.warm_up.target,
        "joint": params.joint,
        "co_train": params.co_train,
    }
    return [
        f"{name}.crop: sides must be at least {least} at model.output_stride {params.model.output_stride}, "
        f"not {training.crop}"
        for name, training in trainings.items()
        if min(training.crop) < least
    ]


def _statistics_problems(params: Params) -> list[str]:
    """Running statistics that are kept in learning are those that a network has, whoever asks for the batch's."""
    of_all, of_student, of_teacher = (
        ("model.batch_norm_statistics", params.model.batch_norm_statistics),
        ("co_train.student_batch_norm", params.co_train.student_batch_norm),
        ("co_train.teacher_batch_norm", params.co_train.teacher_batch_norm),
    )
    return [
        f"{asked} 'batch' cannot be had, for {kept} 'running' keeps the statistics as they are; "
        f"set {asked} to running, or {kept} to batch"
        for (asked, wanted), (kept, value) in ((of_student, of_all), (of_teacher, of_all), (of_teacher, of_student))
        if wanted == "batch" and value == "running"
    ]
