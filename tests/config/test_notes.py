"""Which combinations of parameters are refused, told or neither; tests/co_training/test_switches.py: told truly."""

from __future__ import annotations

from typing import Any

import pytest

from dstc.config.notes import OFF, notes
from dstc.config.params import Params, check_params, read_params
from dstc.config.sections import CoTrain
from dstc.core.errors import UserError
from dstc.models.backbones import BACKBONES
from dstc.models.batch_norm import batch_norms
from dstc.models.segmentation import build_backbone
from tests.pipeline.project import ROOT
from tests.preparation.trees import raw_params
from tests.test_presets import NAMES, merged

EVERYTHING = ("data", "split", "model", "optim", "warm_up", "joint", "co_train", "evaluate")
RELEASED = {"teachers": "branches", "cross_supervision_start": 0.0, "confidence_threshold": 0.0}
FOLDERS = {"source": "/a", "target": "/b"}
NO_OUTER_TAPS = "of the model.atrous_rates [18, 24] it trains no outer taps, for it has 16x16 features"
MEANING = "larger images have features for them in evaluation"
TRANSFORMERS = [name for name in NAMES if "_dinov" in name]
Sections = dict[str, dict[str, Any]]


def told(**sections: dict[str, Any]) -> list[str]:
    """The notes of the shipped parameters with these changes, but for those of the crops, which are of all of them."""
    found = notes(check_params(raw_params(**sections), "params.yaml"), EVERYTHING)
    return [note for note in found if "outer taps" not in note]


@pytest.mark.parametrize(
    ("model", "co_train", "asked"),
    [
        ("running", {}, ["student_batch_norm", "teacher_batch_norm"]),
        ("running", {"student_batch_norm": "running"}, ["teacher_batch_norm", "teacher_batch_norm"]),
        ("running", {"teacher_batch_norm": "running"}, ["student_batch_norm"]),
        ("batch", {"student_batch_norm": "running"}, ["teacher_batch_norm"]),
    ],
)
def test_batch_statistics_beside_those_that_are_kept_are_refused(
    model: str, co_train: dict[str, str], asked: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        told(model={"batch_norm_statistics": model}, co_train=co_train)
    lines = str(refused.value).splitlines()
    assert [line.split(" ")[1] for line in lines] == [f"co_train.{key}" for key in asked]
    assert all("'batch' cannot be had, for" in line and "to running, or" in line for line in lines)


@pytest.mark.parametrize(
    ("sections", "note"),
    [
        (
            {"co_train": {"cross_supervision": False}},
            "co_train.class_mix, co_train.color_augmentation, co_train.confidence_threshold, "
            "co_train.cross_supervision_start: no effect, for "
            "co_train.cross_supervision is false",
        ),
        (
            {"co_train": {"cross_supervision_start": 0.9999}},
            "co_train.class_mix, co_train.color_augmentation, co_train.confidence_threshold, "
            "co_train.cross_supervision: no effect, for "
            "co_train.cross_supervision_start is after the last iteration",
        ),
        (
            {"co_train": {"alignment_weight": 0.0, "alignment_counts_void": True}},
            "co_train.alignment_counts_void: no effect, for co_train.alignment_weight is 0",
        ),
        (
            {"co_train": {"combination": "whole_images", "paste_with_replacement": True}},
            "co_train.paste_with_replacement: no effect, for co_train.combination is whole_images",
        ),
        (
            {"co_train": {"update": "sequential"}},
            "co_train.update: no effect, for averaged teachers change after the step alone",
        ),
        (
            {"co_train": {"teachers_run": "first"}},
            "co_train.teachers_run: no effect, for averaged teachers change after the step alone",
        ),
        (
            {"co_train": RELEASED | {"teachers_run": "first", "update": "sequential"}},
            "co_train.update: no effect, for co_train.teachers_run is first: every pseudo-label is made before B1 steps",
        ),
        (
            {"co_train": RELEASED | {"teachers_run": "first"}, "model": {"backbone": "convnext_tiny"}},
            "co_train.teachers_run: no effect, for nothing of a teacher changes before the step",
        ),
        (
            {"co_train": {"lr_ramp_iterations": 1}},
            "co_train.lr_ramp_iterations: no effect, for a ramp of one iteration begins at its end",
        ),
        (
            {"co_train": {"choose_checkpoint": "best_on_val", "validate_every": 1000}},
            "co_train.choose_checkpoint: no effect, for co_train.validate_every leaves one validation, at the end",
        ),
        (
            {"model": {"backbone": "mobilenet_v2"}},
            "model.stride_on: no effect, for model.backbone 'mobilenet_v2' has no bottlenecks",
        ),
        (
            {"model": {"backbone": "pvt_v2_b2"}},
            "model.batch_norm_affine, model.batch_norm_statistics, co_train.student_batch_norm, "
            "co_train.teacher_batch_norm: no effect, for model.backbone 'pvt_v2_b2' has no BatchNorm",
        ),
        (
            {"model": {"backbone": "dinov2_small"}},
            "model.output_stride: no effect, for model.backbone 'dinov2_small' divides by its patch of 14",
        ),
        (
            {"model": {"backbone": "convnext_tiny", "head": "dpt"}},
            "model.output_stride: no effect, for model.head 'dpt' takes levels of several strides",
        ),
        ({"model": {"head": "linear"}}, "model.atrous_rates: no effect, for model.head is linear"),
        ({"model": {"head_channels": 8}}, "model.head_channels: no effect, for model.head is deeplab_v2"),
        (
            {"optim": {"optimizer": "adamw"}},
            "optim.momentum: no effect, for optim.optimizer is adamw, which has its own",
        ),
        ({"optim": {"layer_decay": 0.8}}, "optim.layer_decay: no effect, for optim.optimizer is sgd"),
        (
            {"model": {"backbone_weights": "frozen", "initial_weights": "/a.pth"}},
            "optim.backbone_multiplier, optim.layer_decay: no effect, for model.backbone_weights is frozen",
        ),
        (
            {"optim": {"poly_power": 0.0}, "warm_up": {"target.schedule_iterations": 500}},
            "warm_up.target.schedule_iterations: no effect, for optim.poly_power is 0",
        ),
        (
            {"evaluate": {"picture_names": ["a.png"]}},
            "evaluate.pictures: no effect, for evaluate.picture_names names them",
        ),
        (
            {"evaluate": {"window": [64, 48], "scales": [1.0, 1.5]}, "data": {"target.resize": [40, 32]}},
            "evaluate.window: no effect, for no image is larger than it",
        ),
        (
            {"optim": {"ema_decay": 0.0}, "co_train": RELEASED},
            "evaluate.weights: no effect, for optim.ema_decay is 0: there are no averaged networks",
        ),
        (
            {"model": {"backbone": "pvt_v2_b2"}, "evaluate": {"batch_norm": "target"}},
            "model.batch_norm_affine, model.batch_norm_statistics, co_train.student_batch_norm, "
            "co_train.teacher_batch_norm, evaluate.batch_norm: no effect, for model.backbone 'pvt_v2_b2' has no BatchNorm",
        ),
        ({"split": {"file": "own.txt"}}, "split.seed: no effect, for split.file names the labeled images"),
        ({"data": {"own.class_names": ["road"]}}, "data.own.class_names: no effect, for data.classes is cityscapes_19"),
        (
            {"data": {"own.labels": {"road": [7]}, "own.tolerance": 3}},
            "data.own.labels, data.own.tolerance: no effect, for data.source.layout is gta5 and data.target.layout "
            "cityscapes",
        ),
        (
            {
                "paths": FOLDERS,
                "data": {"target.layout": "csv", "own.target_labels": {"road": [7]}, "own.ignored": [0]},
            },
            "data.own.ignored: no effect, for data.source.layout is gta5 and data.target.layout csv",
        ),
    ],
)
def test_what_has_no_effect_is_told_with_the_cause(sections: Sections, note: str) -> None:
    assert note in told(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"co_train": {"alignment_weight": 0.0}},
        {"co_train": {"combination": "whole_images"}},
        {"co_train": {"color_augmentation": "mild"}},
        {"co_train": RELEASED | {"update": "sequential"}},
        {"co_train": RELEASED | {"teachers_run": "first"}},
        {"co_train": {"teacher_batch_norm": "running"}},
        {"co_train": {"teacher_batch_norm": "running", "student_batch_norm": "running"}},
        {
            "model": {"batch_norm_statistics": "running"},
            "co_train": {"teacher_batch_norm": "running", "student_batch_norm": "running"},
        },
        {"evaluate": {"window": [64, 48], "scales": [1.0, 2.0]}, "data": {"target.resize": [40, 32]}},
        {"evaluate": {"window": [64, 48]}},
        {"paths": FOLDERS, "data": {"source.layout": "csv", "own.labels": {"road": [7]}, "own.ignored": [0]}},
        {"optim": {"poly_power": 0.0}},
    ],
)
def test_what_reaches_the_result_is_neither_refused_nor_told(sections: Sections) -> None:
    assert told(**sections) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_no_switch_on_that_has_no_effect(name: str) -> None:
    said = [note.split(":")[0] for note in notes(Params.model_validate(merged(name)), EVERYTHING)]
    crops = [
        "warm_up.source.crop",
        "warm_up.target.crop",
        "co_train.crop",
        "joint.crop",
    ]  # of 192 pixels, 24 of features
    of_transformers = [
        "model.stride_on",
        "model.output_stride",
        "model.atrous_rates",
        "model.batch_norm_affine, model.batch_norm_statistics, co_train.student_batch_norm, co_train.teacher_batch_norm",
        "optim.momentum",
    ]
    expected = {"carla_camvid": ["model.stride_on", *crops]} | dict.fromkeys(TRANSFORMERS, of_transformers)
    assert said == expected.get(name, [])


def test_taps_that_no_crop_trains_are_told_by_the_stage_that_crops() -> None:
    params = check_params(raw_params(co_train={"crop": [200, 128]}), "params.yaml")
    for section in ("warm_up.source", "warm_up.target", "joint"):
        (note,) = notes(params, ["model", section])
        assert note.startswith(f"{section}.crop: {NO_OUTER_TAPS}")
    (note,) = notes(params, ["co_train"])
    assert "has 25x16 features" in note
    fewer = check_params(raw_params(model={"atrous_rates": [6, 15]}), "params.yaml")
    assert notes(fewer, EVERYTHING) == []


def test_every_switch_that_can_be_off_is_one_of_co_train_and_off_in_the_sections_own_type() -> None:
    assert set(OFF) <= set(CoTrain.model_fields)
    check_params(raw_params(co_train=dict(OFF)), "params.yaml")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_without_batch_norm_says_so(name: str) -> None:
    if BACKBONES[name].of_timm:
        pytest.importorskip("timm")
    backbone = build_backbone(name, stride_on="second_conv", output_stride=8)
    assert BACKBONES[name].batch_norm == bool(batch_norms(backbone))


def test_notes_are_printed_of_what_a_stage_tracks_and_by_the_process_that_was_typed_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_params(ROOT / "params.yaml")
    assert capsys.readouterr().out == ""
    read_params(ROOT / "params.yaml", tell=["model", "co_train"])
    assert capsys.readouterr().out.splitlines() == [f"note: co_train.crop: {NO_OUTER_TAPS}; {MEANING}"]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("RANK", "0")
    read_params(ROOT / "params.yaml", tell=["model", "co_train"])
    assert capsys.readouterr().out == ""
