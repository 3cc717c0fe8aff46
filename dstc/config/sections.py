"""The sections of params.yaml as types: which keys there are, of what type, in what range."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dstc.core.names import is_one_line


def _one_line(text: str) -> str:
    if not text or not is_one_line(text):
        raise ValueError(f"must be one line of text without control characters, not {text!r}")
    return text


def _as_it_is_compared(name: str) -> str:
    """A name of a folder, by which files below it are found: no ./ before it, no / behind it."""
    if name != (short := str(PurePosixPath(name))):
        raise ValueError(f"must be written '{short}', not '{name}'")
    return name


MOST_PROCESSES = 4096

Text = Annotated[str, AfterValidator(_one_line)]
Inside = Annotated[Text, AfterValidator(_as_it_is_compared)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Images = Annotated[int, Field(ge=1, le=10_000)]  # in a batch
Threads = Annotated[int, Field(ge=0, le=1024)]  # torch dies of millions
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rate = Annotated[float, Field(gt=0, le=10)]
WidthHeight = Annotated[list[Count], Field(min_length=2, max_length=2)]
AtrousRates = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=16)]
Levels = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], Field(min_length=1, max_length=16)]
Scale = Annotated[float, Field(ge=0.1, le=10)]
Window = Annotated[
    list[Annotated[int, Field(ge=16)]], Field(min_length=2, max_length=2)
]  # two pixels of features at an eighth


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Paths(Section):
    source: Text
    target: Text
    unlabeled: list[Text]


class Source(Section):
    layout: Literal["gta5", "synthia", "cityscapes", "folders", "csv"]
    resize: WidthHeight | None
    held_out: Annotated[int, Field(ge=0)]


class Target(Section):
    layout: Literal["cityscapes", "folders", "csv"]
    resize: WidthHeight | None
    train: Inside
    val: Inside


class Own(Section):
    class_names: list[Text]
    labels: dict[str, list[int | str]] | None
    ignored: list[int | str]
    target_labels: dict[str, list[int | str]] | None
    target_ignored: list[int | str]
    tolerance: Annotated[int, Field(ge=0, le=255)]
    colors: dict[str, str] | None


class World(Section):
    seed: Seed
    source_images: Count
    train_images: Count
    val_images: Count


class Data(Section):
    classes: Literal["cityscapes_19", "synthia_16", "own"]
    source: Source
    target: Target
    own: Own
    world: World


class Split(Section):
    size: Count
    seed: Seed
    file: Text | None


class Model(Section):
    backbone: Text  # one of dstc/models/backbones.py, which model_rules.py checks
    head: Literal["deeplab_v2", "linear", "dpt"]
    levels: Levels | None
    head_channels: Annotated[int, Field(ge=1, le=4096)] | None
    initial_weights: Text
    backbone_weights: Literal["trained", "frozen"]
    stride_on: Literal["first_conv", "second_conv"]
    output_stride: Literal[8, 16]
    atrous_rates: AtrousRates
    normalization: Literal["caffe_bgr", "imagenet_rgb"]
    batch_norm_affine: Literal["frozen", "trained"]
    batch_norm_statistics: Literal["batch", "running"]
    precision: Literal["fp32", "bf16", "auto"]


class Optim(Section):
    optimizer: Literal["sgd", "adamw"]
    backbone_multiplier: Rate
    classifier_multiplier: Annotated[float, Field(gt=0, le=1000)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    clip_gradient_norm: Annotated[float, Field(gt=0, le=10**6)] | None
    poly_power: Annotated[float, Field(ge=0, le=10)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]


class Schedule(Section):
    """What all trainings have in common, but for how each says its number of iterations."""

    schedule_iterations: Count | None  # null: as many as there are iterations
    learning_rate: Rate
    lr_ramp_iterations: Annotated[int, Field(ge=0)]
    crop: WidthHeight
    class_weights: Literal["none", "inverse_log"]
    validate_every: Count


class Training(Schedule):
    """A training of so many iterations."""

    iterations: Count

    @model_validator(mode="after")
    def _schedule_covers_the_run(self) -> Self:
        if self.schedule_iterations is not None and self.schedule_iterations < self.iterations:
            raise ValueError(
                f"schedule_iterations ({self.schedule_iterations}) is where the learning rate reaches zero; "
                f"it must be at least iterations ({self.iterations}), or null for as many"
            )
        if self.lr_ramp_iterations >= self.iterations:
            raise ValueError(
                f"lr_ramp_iterations ({self.lr_ramp_iterations}) must be below iterations ({self.iterations})"
            )
        return self


class WarmUp(Training):
    batch: Images


class WarmUps(Section):
    source: WarmUp
    target: WarmUp


class LabeledBatch(Section):
    source: Images
    labeled_target: Images


class Joint(Schedule):
    iterations: Annotated[int, Field(ge=0, le=10**9)] | None  # null: as many as the whole pipeline has; 0: left out
    batch: LabeledBatch

    @model_validator(mode="after")
    def _schedule_has_its_iterations(self) -> Self:
        if self.schedule_iterations is not None and (
            self.iterations is None or self.schedule_iterations < self.iterations
        ):
            raise ValueError(
                f"schedule_iterations ({self.schedule_iterations}) is where the learning rate reaches zero; it needs "
                f"iterations that are a number of at most so many, not {self.iterations}, or must be null"
            )
        return self


class JointTraining(Training):
    """Joint training whose iterations are counted out (stages/joint.py)."""

    batch: LabeledBatch


class Batch(LabeledBatch):
    unlabeled_target: Images


class CoTrain(Training):
    batch: Batch
    initialization: Literal["domain_specific", "both_from_source", "both_from_target", "both_from_joint"]
    combination: Literal["differentiated", "differentiated_and_target", "whole_images"]
    paste_with_replacement: bool
    alignment_weight: Annotated[float, Field(ge=0, le=100)]
    alignment_counts_void: bool
    cross_supervision: bool
    cross_supervision_start: Annotated[float, Field(ge=0, lt=1)]
    cross_supervision_weight: Annotated[float, Field(ge=0, le=100)]
    class_mix: bool
    color_augmentation: Literal["none", "mild", "strong"]
    student_batch_norm: Literal["batch", "running"]
    teacher_batch_norm: Literal["running", "batch"]
    teachers_run: Literal["in_turn", "first"]
    teachers: Literal["averaged", "branches"]
    confidence_threshold: Annotated[float, Field(ge=0, lt=1)]
    update: Literal["simultaneous", "sequential"]
    choose_checkpoint: Literal["last", "best_on_val"]
    pictures_every: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cross_supervision and self.class_mix and self.batch.unlabeled_target < 2:
            raise ValueError(
                "class_mix pastes one unlabeled image onto another, so batch.unlabeled_target must be at least 2, "
                "not 1; raise it or set class_mix: false"
            )
        if self.combination != "whole_images" and self.batch.source < self.batch.labeled_target:
            raise ValueError(
                f"data combination 2 pastes one source image into each labeled target image, so batch.source "
                f"({self.batch.source}) must be at least batch.labeled_target ({self.batch.labeled_target})"
            )
        return self


class Evaluate(Section):
    batch: Count
    protocols: Annotated[list[Literal["half", "full"]], Field(min_length=1, max_length=2)]
    pictures: Annotated[int, Field(ge=0)]
    picture_names: list[Text]
    weights: Literal["ema", "last"]
    batch_norm: Literal["trained", "target"]
    flip: bool
    scales: Annotated[list[Scale], Field(min_length=1)]
    window: Window | None


def _number_or_auto(value: object) -> object:
    # Beforehand: the union's own refusal has a line for each half of it.
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_PROCESSES):
        return value
    raise ValueError(f"must be auto or a number from 1 to {MOST_PROCESSES}, not {value!r}")


class Runtime(Section):
    device: Text
    processes: Annotated[int | Literal["auto"], BeforeValidator(_number_or_auto)]
    workers: Annotated[int, Field(ge=0, le=256)]
    checkpoint_every_minutes: Annotated[float, Field(gt=0)]
    threads: Threads
    deterministic: Literal["exact", "fast"]
    gradient_checkpointing: bool
    cache: Text
    cache_gigabytes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    tensorboard: Text | None

    @model_validator(mode="after")
    def _tensorboard_is_installed(self) -> Self:
        if self.tensorboard is not None and not find_spec("tensorboard"):
            raise ValueError(
                "tensorboard needs a package that is not installed here: pip install tensorboard, or set it to null"
            )
        return self

    @model_validator(mode="after")
    def _cache_has_one_place(self) -> Self:
        if self.cache not in ("auto", "none") and not Path(self.cache).is_absolute():
            raise ValueError(
                f"cache must be 'auto', 'none' or an absolute path (experiments run in copies of this folder), "
                f"not '{self.cache}'"
            )
        return self
