"""What of section `model` contradicts its backbone, its weights, the crops or co-training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dstc.config.sections import Model
from dstc.core.errors import nearest
from dstc.models.backbones import (
    BACKBONES,
    LEVELS_OF_HEAD,
    PRETRAINED,
    WEIGHTS_BY_NAME,
    Backbone,
    find_backbone,
    lacking,
)

if TYPE_CHECKING:
    from dstc.config.params import Params


def model_problems(params: Params) -> list[str]:
    """What is wrong with section `model` by itself, and beside the crops and the other sections."""
    model, backbone = params.model, find_backbone(params.model.backbone)
    if backbone is None:
        return [
            f"model.backbone: must be one of {', '.join(BACKBONES)} or timm/<its name there>, not '{model.backbone}'"
            f"{nearest(model.backbone, BACKBONES)}"
        ]
    message = lacking(model.backbone, backbone)
    return [
        *([message] if message else _feature_problems(model, backbone)),
        *_weight_problems(model, backbone),
        *_optimizer_problems(params, backbone),
        *_crop_problems(params, backbone),
        *_statistics_problems(params),
    ]


def _feature_problems(model: Model, backbone: Backbone) -> list[str]:
    """What is wrong with the levels of features that the backbone is to give to the head."""
    needed = LEVELS_OF_HEAD[model.head]
    if not backbone.of_timm:
        of_own = (
            f"model.backbone '{model.backbone}' has one level of features; take a network of timm, such as resnet50d"
        )
        asked = {f"model.head '{model.head}' needs {needed}": needed > 1, "model.levels are given": model.levels}
        return [f"{what}, but {of_own}" for what, is_asked in asked.items() if is_asked]
    if needed > 1 and model.levels is not None and len(model.levels) != needed:
        return [f"model.levels: must be {needed} for model.head '{model.head}', not {model.levels}"]
    if model.backbone in BACKBONES and model.levels is None:
        return []  # known to work, and timm takes seconds to import
    from dstc.models.timm_features import network_problem, weights_problem

    problem = network_problem(
        backbone.options["architecture"],
        output_stride=model.output_stride,
        levels=model.levels,
        pyramid=needed > 1,
    )
    if problem is None and model.initial_weights == PRETRAINED:
        problem = weights_problem(backbone.timm_weights)
    return [problem] if problem else []


def _weight_problems(model: Model, backbone: Backbone) -> list[str]:
    """What is wrong with weights by name; those in a file are judged when it is read (dstc/models/weights.py)."""
    weights, name = model.initial_weights, f"model.initial_weights '{model.initial_weights}'"
    if weights == "none":
        frozen = model.backbone_weights == "frozen"
        return [
            "model.backbone_weights 'frozen' would keep random weights, for model.initial_weights is 'none'"
        ] * frozen
    if Path(weights).is_absolute():
        return []
    if weights not in WEIGHTS_BY_NAME:
        known = ("none", *WEIGHTS_BY_NAME)
        return [f"{name}: must be {', '.join(known)}, or the absolute path of a file{nearest(weights, known)}"]
    if weights not in backbone.weights_by_name:
        others = ", ".join(f"'{other}'" for other in (*backbone.weights_by_name, "none"))
        return [f"{name}: there are none for '{model.backbone}'; use {others} or a file"]
    whose = "timm's" if backbone.of_timm else "torchvision's"
    fitting = {"normalization": "imagenet_rgb"} | ({"stride_on": "second_conv"} if backbone.bottlenecks else {})
    return [
        f"{name} are {whose}, made for model.{key} '{value}', not '{getattr(model, key)}'"
        for key, value in fitting.items()
        if getattr(model, key) != value
    ]


def _optimizer_problems(params: Params, backbone: Backbone) -> list[str]:
    optim = params.optim
    if optim.optimizer == "adamw" and optim.layer_decay < 1 and not backbone.of_timm:
        return [
            f"optim.layer_decay {optim.layer_decay} is known of timm's networks alone, and model.backbone is "
            f"'{params.model.backbone}'; set it to 1"
        ]
    return []


def stride_of(model: Model, backbone: Backbone) -> int:
    """The image's side divided by that of the features."""
    return backbone.patch or model.output_stride


def _crop_problems(params: Params, backbone: Backbone) -> list[str]:
    stride = stride_of(params.model, backbone)
    named = f"the patch of {params.model.backbone}," if backbone.patch else "model.output_stride"
    least = 2 * stride  # of features of a single pixel BatchNorm can take no statistics
    trainings = {
        "warm_up.source": params.warm_up.source,
        "warm_up.target": params.warm_up.target,
        "joint": params.joint,
        "co_train": params.co_train,
    }
    return [
        f"{name}.crop: sides must be at least {least} at {named} {stride}, not {training.crop}"
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
