"""The trainers, a few iterations on a few small images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dstc.co_training.trainer import CoTrainer
from dstc.config.params import Params, check_params, read_yaml
from dstc.core.errors import UserError
from dstc.core.taxonomy import Classes
from dstc.data.loaders import Stream, ValidationImages
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.domain_specific_initialization import Branches
from dstc.supervised import train_supervised
from dstc.training.context import TrainingContext
from dstc.training.state import TrainingState
from tests.data.small_domain import small_domain

REPOSITORY = Path(__file__).parents[2]
CLASSES = Classes(("road", "sidewalk", "building"), ((128, 64, 128), (244, 35, 232), (70, 70, 70)))
SHORT = {
    "iterations": 2,
    "schedule_iterations": 4,
    "learning_rate": 0.01,
    "lr_ramp_iterations": 0,
    "batch": {"source": 2, "labeled_target": 2, "unlabeled_target": 2},
    "crop": [24, 16],
    "validate_every": 1,
    "pictures_every": 2,
    "class_weights": "none",
    "choose_checkpoint": "last",
}
METHOD = {
    "initialization": "domain_specific",
    "combination": "differentiated",
    "paste_with_replacement": False,
    "alignment_weight": 0.1,
    "alignment_counts_void": False,
    "cross_supervision": True,
    "cross_supervision_start": 0.0,
    "class_mix": True,
    "cross_supervision_weight": 1.0,
    "color_augmentation": "none",
    "student_batch_norm": "batch",
    "teacher_batch_norm": "running",
    "teachers_run": "in_turn",
    "teachers": "branches",
    "confidence_threshold": 0.0,
    "update": "simultaneous",
}
RELEASED = {
    "paste_with_replacement": True,
    "alignment_counts_void": True,
    "teacher_batch_norm": "batch",
    "update": "sequential",
}
LOSSES = {
    "source_biased/source_cross_entropy",
    "source_biased/alignment",
    "source_biased/target_cross_entropy",
    "source_biased/cross_supervision",
    "target_biased/combined_cross_entropy",
    "target_biased/cross_supervision",
}


TEACHING = {
    "source_biased_confident_share",
    "source_biased_pseudo_label_accuracy",
    "target_biased_confident_share",
    "target_biased_pseudo_label_accuracy",
    "disagreement",
}


def params(*, seed: int = 0, ema_decay: float = 0.5, **co_train: Any) -> Params:
    """A short co-training on the CPU of small images; what it leaves open is as in the repository's parameters."""
    raw = read_yaml(REPOSITORY / "params.yaml")
    raw["seed"] = seed
    raw["co_train"] |= SHORT | METHOD | co_train
    raw["model"] |= {
        "backbone": "narrow_resnet",
        "initial_weights": "none",
        "stride_on": "first_conv",
        "batch_norm_statistics": "batch",
        "precision": "fp32",
    }
    raw["optim"] |= {"backbone_multiplier": 1.0, "classifier_multiplier": 1.0, "ema_decay": ema_decay}
    raw["runtime"].update(device="cpu", workers=0, threads=1)  # two wait for each other on a busy machine
    return check_params(raw, "params.yaml")


def context(params: Params) -> TrainingContext:
    return TrainingContext.of(params, CLASSES)


def co_train(folder: Path, *, unlabeled: bool = True, **changes: Any) -> tuple[CoTrainer, TrainingState]:
    chosen, domain = params(**changes), small_domain(folder / "images", 4)
    branches = Branches(context(chosen).networks.new(), context(chosen).networks.new())
    val = ValidationImages(domain, [folder / "images"])
    trainer = CoTrainer(branches, context=context(chosen), settings=chosen.co_train, val=val)
    parts = {"source": domain, "labeled_target": domain}
    if unlabeled:
        parts["unlabeled_target"] = domain.without_labels()
    streams = {name: Stream(index, [folder / "images"], 2, chosen.co_train.crop) for name, index in parts.items()}
    return trainer, trainer.run(streams, folder / "pictures")


def weights(trainer: CoTrainer) -> Mapping[str, Tensor]:
    return {
        f"{learner.name}.{name}": value
        for learner in trainer.learners
        for name, value in learner.network.state_dict().items()
    }


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Tensor]:
    """Weights after a co-training with nothing switched."""
    return weights(co_train(tmp_path_factory.mktemp("base"))[0])


def test_every_loss_of_the_method_is_a_column_of_the_curve(tmp_path: Path) -> None:
    _, curves = co_train(tmp_path)
    for row in curves.losses.rows:
        assert row.keys() == LOSSES | {"iteration", "learning_rate"}
        assert all(row[name] > 0 for name in LOSSES)
    scored = [f"{name}{kind}_miou" for name in ("source_biased", "target_biased", "average") for kind in ("", "_ema")]
    assert curves.validation.rows[-1].keys() == {"iteration", *scored, *TEACHING}


def test_where_there_is_a_threshold_the_share_of_confident_pseudo_labels_is_a_curve_of_each_branch(
    tmp_path: Path,
) -> None:
    columns = ("source_biased/confident_share", "target_biased/confident_share")
    trainer, curves = co_train(tmp_path, confidence_threshold=0.4, cross_supervision_start=0.5)
    first, second = curves.losses.rows
    assert all(name not in first and 0 <= second[name] <= 100 for name in columns)
    in_any_case = "target_biased/target_cross_entropy"  # empty, where B2 sees combined images alone
    assert set(curves.losses.columns) == LOSSES | {"iteration", "learning_rate", in_any_case, *columns}
    for learner in trainer.learners:
        assert not any("confident" in name for name in learner.losses)


@pytest.mark.parametrize(("teachers", "kind"), [("averaged", "_ema"), ("branches", "")])
def test_the_networks_that_teach_are_judged_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teachers: str, kind: str
) -> None:
    judged: list[Mapping[str, str]] = []

    def noting(*_: object, teachers: Mapping[str, str], **__: object) -> dict[str, float]:
        judged.append(teachers)
        return {}

    monkeypatch.setattr("dstc.co_training.trainer.validate_branches", noting)
    trainer, state = co_train(tmp_path, teachers=teachers, iterations=1)
    assert judged == [{name: f"{name}{kind}" for name in ("source_biased", "target_biased")}]
    taught_by = [state.networks[name] for name in judged[0].values()]
    assert taught_by == [trainer.teachers.source_biased, trainer.teachers.target_biased]


def test_the_same_parameters_train_the_same_weights_and_another_seed_others(
    tmp_path: Path, base: Mapping[str, Tensor]
) -> None:
    assert_same(weights(co_train(tmp_path)[0]), base)
    other = weights(co_train(tmp_path, seed=1)[0])
    assert not torch.equal(base["source_biased.classifier.0.weight"], other["source_biased.classifier.0.weight"])


@pytest.mark.parametrize(
    "switch",
    [
        {"class_weights": "inverse_log"},
        {"paste_with_replacement": True},
        {"alignment_counts_void": True},
        {"teacher_batch_norm": "batch"},
        {"teachers_run": "first"},
        {"update": "sequential"},
        {"teachers": "averaged"},
        {"confidence_threshold": 0.5},
        {"alignment_weight": 0.5},
        {"alignment_weight": 0.0},
        {"cross_supervision": False},
        {"cross_supervision_start": 0.5},
        {"student_batch_norm": "running"},
        {"class_mix": False},
        {"combination": "whole_images"},
        {"combination": "differentiated_and_target"},
        {"color_augmentation": "mild"},
        {"color_augmentation": "strong"},
        {"cross_supervision_weight": 0.5},
        {"lr_ramp_iterations": 1},
        RELEASED,
    ],
)
def test_every_switch_of_the_parameters_reaches_the_weights(
    tmp_path: Path, base: Mapping[str, Tensor], switch: dict[str, Any]
) -> None:
    switched = weights(co_train(tmp_path, **switch)[0])
    changed = [name for name, value in base.items() if not torch.equal(value, switched[name])]
    is_inert = switch == {"lr_ramp_iterations": 1}  # a ramp of one iteration is none
    assert bool(changed) != is_inert


def test_every_draw_of_classes_has_a_seed_of_its_own_which_the_runs_seed_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def noting(*arguments: Any, generator: torch.Generator, **more: Any) -> Tensor:
        drawn.append(generator.initial_seed())
        return sample_half_of_classes(*arguments, generator=generator, **more)

    monkeypatch.setattr("dstc.co_training.trainer.sample_half_of_classes", noting)
    co_train(tmp_path)
    co_train(tmp_path, seed=1)
    assert len(set(drawn)) == len(drawn) == 2 * 2 * 3  # runs, iterations, draws of a step


@pytest.mark.parametrize("others", [{}, {"teachers": "averaged", "teacher_batch_norm": "batch"}])
def test_the_averages_are_the_moving_averages_of_their_branches_statistics_included(
    tmp_path: Path, others: dict[str, Any]
) -> None:
    """Over three steps with the decay 0.6: the first is copied, the second counts a half, the third 1 - 0.6. Averages that
    label with the batch's statistics are no exception: what they label must not reach what is scored."""
    after = [co_train(tmp_path / str(count), ema_decay=0.6, iterations=count, **others)[0] for count in (1, 2, 3)]
    for learners in zip(*(trainer.learners for trainer in after), strict=True):
        first, second, third = (learner.network.state_dict() for learner in learners)
        averaged = learners[-1].average
        assert averaged is not None
        for name, average in averaged.module.state_dict().items():
            expected = 0.6 * (first[name] / 2 + second[name] / 2) + 0.4 * third[name]
            if average.is_floating_point():
                assert torch.allclose(average, expected, atol=1e-6), name
            else:
                assert torch.equal(average, third[name]), name


def test_without_a_decay_there_is_no_average(tmp_path: Path) -> None:
    trainer, state = co_train(tmp_path, ema_decay=0.0, iterations=1)
    assert [learner.average for learner in trainer.learners] == [None, None]
    assert state.validation.rows[-1].keys() == {
        "iteration",
        "source_biased_miou",
        "target_biased_miou",
        "average_miou",
        *TEACHING,
    }


def test_the_averages_are_part_of_what_is_saved(tmp_path: Path) -> None:
    """A run whose state is put into a new trainer, averages included, goes on to the same averages."""
    _, state = co_train(tmp_path / "trained")
    fresh, _ = co_train(tmp_path / "fresh", iterations=1, seed=1)
    fresh.state.restore(state.as_dict())
    assert len(state.networks) == 4
    for name, network in fresh.state.networks.items():
        assert_same(network.state_dict(), state.networks[name].state_dict())


def test_a_weight_of_zero_switches_the_alignment_off(tmp_path: Path) -> None:
    _, curves = co_train(tmp_path, alignment_weight=0.0)
    assert "source_biased/alignment" not in curves.losses.rows[0]


def test_co_training_works_where_every_target_image_is_labeled(tmp_path: Path) -> None:
    _, curves = co_train(tmp_path, unlabeled=False)
    losses = curves.losses.rows[0].keys() - {"iteration", "learning_rate"}
    assert losses == {name for name in LOSSES if not name.endswith("cross_supervision")}


def test_pictures_of_what_is_mixed_are_drawn_every_so_often(tmp_path: Path) -> None:
    co_train(tmp_path, pictures_every=2, iterations=3)
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == [
        "iteration_000001.png",
        "iteration_000003.png",
    ]


def test_drawing_changes_nothing_that_is_learnt(tmp_path: Path, base: Mapping[str, Tensor]) -> None:
    assert_same(weights(co_train(tmp_path, pictures_every=1)[0]), base)


def test_the_best_checkpoint_on_val_is_kept_only_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores fall, so that the best weights are those after the first iteration."""

    def falling(networks: Mapping[str, object], *_: object, **__: object) -> dict[str, float]:
        falling.score -= 1  # type: ignore[attr-defined]
        return {f"{name}_miou": falling.score for name in networks}  # type: ignore[attr-defined]

    falling.score = 50.0  # type: ignore[attr-defined]
    monkeypatch.setattr("dstc.co_training.trainer.validate_branches", falling)
    after_one = weights(co_train(tmp_path, iterations=1)[0])
    best = weights(co_train(tmp_path, choose_checkpoint="best_on_val")[0])
    last = weights(co_train(tmp_path)[0])
    assert_same(best, after_one)
    assert not torch.equal(last["source_biased.classifier.0.weight"], best["source_biased.classifier.0.weight"])


def test_class_weights_follow_what_the_labels_of_a_batch_show(tmp_path: Path) -> None:
    """60, 30 and 10 % in one domain, 0, 0 and 100 % in the other, of which a batch holds half as many images."""
    domain, chosen = small_domain(tmp_path, 2), params(class_weights="inverse_log")
    other = replace(domain, entries=tuple(replace(entry, pixels=(0, 0, 7)) for entry in domain.entries))
    streams = {
        "source": Stream(domain, [tmp_path], 4, [24, 16]),
        "labeled_target": Stream(other, [tmp_path], 2, [24, 16]),
        "unlabeled_target": Stream(domain.without_labels(), [tmp_path], 2, [24, 16]),
    }
    weights = context(chosen).class_weights(chosen.co_train, streams)
    assert weights is not None
    assert weights.tolist() == pytest.approx([1 / math.log(1.02 + share) for share in (0.4, 0.2, 0.4)])
    assert context(chosen).class_weights(params().co_train, streams) is None


def test_a_warm_up_lowers_its_loss_and_has_a_column_for_each_stream(tmp_path: Path) -> None:
    chosen, domain = params(), small_domain(tmp_path, 2)
    schedule = chosen.warm_up.source.model_copy(
        update={"iterations": 12, "schedule_iterations": 12, "learning_rate": 0.001, "validate_every": 12}
    )
    network = context(chosen).networks.new()
    streams = {name: Stream(domain, [tmp_path], 2, [24, 16]) for name in ("source", "target")}
    curves = train_supervised(
        network,
        streams,
        name="warm_up",
        context=context(chosen),
        schedule=schedule,
        val=ValidationImages(domain, [tmp_path]),
    )
    for name in ("warm_up/source_cross_entropy", "warm_up/target_cross_entropy"):
        losses = [row[name] for row in curves.losses.rows]
        assert sum(losses[-3:]) < sum(losses[:3]), losses
    assert 0 <= curves.validation.rows[-1]["target_miou"] <= 100
    assert network.training


def test_a_saved_network_comes_back_and_one_of_other_classes_or_another_model_is_refused(tmp_path: Path) -> None:
    own, path = context(params()), tmp_path / "a.pth"
    network = own.networks.new()
    own.save(path, network, trained="source warm-up")
    assert_same(network.state_dict(), own.networks.trained(path).state_dict())
    other_classes = TrainingContext.of(params(), Classes(("road", "sidewalk", "rail"), CLASSES.colors))
    with pytest.raises(UserError, match=r"a\.pth: was trained for the classes .*'building'.*, not .*'rail'"):
        other_classes.networks.trained(path)
    with pytest.raises(UserError, match=r"a\.pth: was trained for the classes"):
        replace(other_classes.networks, initial_weights=str(path)).new()
    raw = params().model_dump()
    was, now = raw["model"]["stride_on"], "second_conv"
    raw["model"]["stride_on"] = now
    with pytest.raises(UserError, match=rf"a\.pth: .* made for model\.stride_on '{was}', but it is '{now}'"):
        context(check_params(raw, "params.yaml")).networks.trained(path)
