"""What a user's mistake comes to: a message that names it, exit status 1, no stack trace, nothing half written.

The stages are run in this process, in a project of a few tiny images.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from dstc.config.params import read_params
from dstc.core import places
from dstc.core.index import SPLIT_FILES, load_index, read_split
from dstc.data.loaders import Crops, Stream
from dstc.training.context import TrainingContext
from dstc.training.cross_entropy import cross_entropy
from tests.bad_input.conftest import SCRIPTS, TRAIN_IMAGES, TRAININGS, contents, name_of, set_params
from tests.pipeline.project import ROOT
from tests.preparation import trees

# --- trainings that go wrong


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
def test_a_loss_that_is_not_finite_stops_the_training_and_names_iteration_and_term(
    refusal: Callable[..., str], script: tuple[str, ...]
) -> None:
    exploding = {"learning_rate": 10.0, "iterations": 60, "schedule_iterations": 60, "validate_every": 60}
    set_params(warm_up__source=exploding, warm_up__target=exploding, joint=exploding, co_train=exploding)
    set_params(optim={"classifier_multiplier": 1000.0, "weight_decay": 0.99})
    message = refusal(*script)
    assert "error: iteration " in message
    # Which overflows first, a loss or a gradient, depends on the machine's arithmetic; the network is named either way.
    assert ("_biased" if script == ("co_train",) else name_of(script)) in message
    assert "the loss " in message or "the gradient of " in message
    assert "Lower the learning rate or check the images of this batch: " in message
    (file,) = Path(".work/failures").iterdir()
    assert f"The batch and the weights before this step are in {file}" in message
    snapshot = torch.load(file, weights_only=True)
    assert message.startswith(f"error: {snapshot['problem']}. Lower")
    assert all(name in message for names in snapshot["images"].values() for name in names)


@pytest.mark.usefixtures("project")
def test_the_saved_batch_and_weights_reproduce_the_loss_that_was_not_finite(
    stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A photo so bright that it overflows stands in for a fault: the network is fine before it, and after it is not."""
    crops = Stream.crops

    def too_bright(self: Stream, iteration: int, **where: Any) -> Crops:
        images, labels = crops(self, iteration, **where)
        return (images.float() * 1e38 if iteration == 3 else images), labels

    monkeypatch.setattr(Stream, "crops", too_bright)
    set_params(warm_up__target={"iterations": 6, "schedule_iterations": 6, "validate_every": 6})
    with pytest.raises(SystemExit):
        stage("warm_up", "target")
    shown = capsys.readouterr().err
    (file,) = Path(".work/failures").iterdir()
    assert file.name == "warm_up_target_iteration_000004.pt"
    snapshot = torch.load(file, weights_only=True)
    assert snapshot["iteration"] == 3
    fault = "error: iteration 4: the loss warm_up_target/target_cross_entropy is nan (learning rate"
    assert f"{fault} {snapshot['learning_rate']:.3g})" in shown
    assert all(value.isfinite().all() for value in snapshot["networks"]["warm_up_target"].values())
    labeled, _ = read_split(places.SPLIT)
    assert set(snapshot["images"]["target"]) <= set(labeled)

    context = TrainingContext.of(read_params(), load_index(places.INDEX_TARGET_TRAIN).classes)
    network = context.networks.new().train()
    network.load_state_dict(snapshot["networks"]["warm_up_target"])
    part = context.on_device(snapshot["batch"]["target"])
    assert not cross_entropy(network(part.image), part.label).isfinite()


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
def test_an_unknown_device_is_refused_before_any_work(refusal: Callable[..., str], script: tuple[str, ...]) -> None:
    for device in ("tpu", "cuda:99", "gpu"):
        set_params(runtime={"device": device})
        assert f"error: runtime.device: '{device}' cannot be used here" in refusal(*script)


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
def test_a_file_where_the_output_folder_belongs_is_named_before_training_is_paid_for(
    project: Path, stage: Callable[..., None], capsys: pytest.CaptureFixture[str], script: tuple[str, ...]
) -> None:
    folder = Path("data") / name_of(script)
    shutil.rmtree(project / folder, ignore_errors=True)
    (project / folder).write_text("in the way")
    with pytest.raises(SystemExit) as ended:
        stage(*script)
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert f"error: {folder}" in shown.err
    assert "iterations in" not in shown.out


# --- checkpoints and indexes that are not what they should be


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"weight": torch.zeros(3)}, "not a checkpoint of this project"),
        (Path("an object"), "holds more than tensors"),
        (None, "is no file of weights"),
    ],
    ids=["tensors", "an object", "text"],
)
def test_a_foreign_checkpoint_is_refused_by_name(refusal: Callable[..., str], content: object, complaint: str) -> None:
    path = places.WARM_UP_SOURCE / places.NETWORK
    if content is None:
        path.write_text("weights? no.")
    else:
        torch.save(content, path)
    message = refusal("co_train")
    assert f"error: {path}: " in message
    assert complaint in message


def test_a_truncated_checkpoint_is_refused_by_name(refusal: Callable[..., str]) -> None:
    path = places.WARM_UP_TARGET / places.NETWORK
    path.write_bytes(path.read_bytes()[:5000])
    assert f"error: {path}: cannot be read as weights" in refusal("co_train")


def test_a_checkpoint_of_other_classes_is_refused_with_both_lists(refusal: Callable[..., str]) -> None:
    path = places.WARM_UP_TARGET / places.NETWORK
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["description"]["classes"] = checkpoint["description"]["classes"][::-1]
    torch.save(checkpoint, path)
    message = refusal("co_train")
    assert f"error: {path}: was trained for the classes ['bicycle', 'motorcycle'" in message
    assert "not ['road', 'sidewalk'" in message


def test_a_checkpoint_of_another_backbone_is_refused(refusal: Callable[..., str]) -> None:
    set_params(model={"backbone": "mobilenet_v2"})
    assert f"error: {places.WARM_UP_SOURCE / places.NETWORK}: " in refusal("co_train")


@pytest.mark.parametrize("script", SCRIPTS[1:], ids=name_of)
def test_a_missing_index_is_named_with_the_command_that_makes_it(
    refusal: Callable[..., str], script: tuple[str, ...]
) -> None:
    shutil.rmtree("data/index")
    message = refusal(*script)
    assert "error: data/index/" in message
    assert "dvc repro prepare_data" in message


def test_a_missing_split_is_named_with_the_command_that_makes_it(refusal: Callable[..., str]) -> None:
    shutil.rmtree(places.SPLIT)
    assert "dvc repro make_split" in refusal("warm_up", "target")
    assert "dvc repro make_split" in refusal("co_train")


def test_a_missing_checkpoint_is_named(refusal: Callable[..., str]) -> None:
    (places.WARM_UP_TARGET / places.NETWORK).unlink()
    assert f"error: {places.WARM_UP_TARGET / places.NETWORK}: not there yet" in refusal("co_train")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_changed_since_it_was_indexed_stops_training_with_the_cure(
    warmed_up: Path, project: Path, refusal: Callable[..., str], workers: int
) -> None:
    shutil.copytree(warmed_up / "cityscapes", project / "cityscapes")
    set_params(paths={"target": str(project / "cityscapes")}, runtime={"workers": workers})
    name = (project / "data/split" / SPLIT_FILES[0]).read_text().split()[0]
    trees.write_photo(project / "cityscapes" / name, seed=1)
    message = refusal("warm_up", "target")
    assert message == (
        f"error: {project / 'cityscapes' / name}: changed since it was indexed; run `dvc repro -f prepare_data`"
    )
    (project / "cityscapes" / name).unlink()
    assert "run `dvc repro -f prepare_data`" in refusal("warm_up", "target")


# --- params.yaml


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_every_stage_checks_the_whole_params_yaml_before_any_work(
    refusal: Callable[..., str], script: tuple[str, ...]
) -> None:
    set_params(co_train={"aligment_weight": 0.1}, split={"size": "many"}, evaluate={"pictures": -1})
    message = refusal(*script)
    assert "co_train.aligment_weight: unknown key; did you mean 'alignment_weight'?" in message
    assert "split.size: " in message
    assert "evaluate.pictures: " in message


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_missing_params_yaml_is_named(refusal: Callable[..., str], script: tuple[str, ...]) -> None:
    Path("params.yaml").unlink()
    assert "error: params.yaml: no such file" in refusal(*script)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_help_says_what_a_stage_does(
    stage: Callable[..., None], capsys: pytest.CaptureFixture[str], script: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        stage(script[0], "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"tage {name_of(script)}" in shown or "Stages warm_up_source and warm_up_target" in shown
    assert "usage: " in shown


# --- what must go well


@pytest.fixture
def without_switched_off_terms(
    project: Path, stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> tuple[Path, str]:
    """The project after co-training with every target image labeled and without alignment; and what was printed."""
    set_params(split={"size": TRAIN_IMAGES}, co_train={"alignment_weight": 0.0})
    stage("make_split")
    stage("co_train")
    stage("evaluate")
    return project, capsys.readouterr().out


def test_with_every_target_image_labeled_co_training_says_once_that_terms_are_skipped_and_finishes(
    without_switched_off_terms: tuple[Path, str],
) -> None:
    project, said = without_switched_off_terms
    assert said.count("every target image is labeled, so the terms on unlabeled images are skipped") == 1
    assert json.loads((project / "metrics/summary.json").read_text())["labeled_images"] == TRAIN_IMAGES


def test_a_loss_that_is_switched_off_has_an_empty_column(without_switched_off_terms: tuple[Path, str]) -> None:
    """DVC drops a whole plot, the other losses too, where one column that it names does not exist."""
    with (without_switched_off_terms[0] / "metrics/losses_co_train.csv").open() as file:
        rows = list(csv.DictReader(file))
    plots = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
    files = [settings["y"] for plot in plots if isinstance(plot, dict) for settings in plot.values()]
    columns = [column for file in files for column in file.get("metrics/losses_co_train.csv", [])]
    assert len(columns) == 9
    assert [column for column in columns if column not in rows[0]] == []
    off = [column for column in columns if column.endswith(("/cross_supervision", "/alignment", "/confident_share"))]
    assert {row[column] for row in rows for column in off} == {""}


def test_unlabeled_images_are_read_only_where_a_term_uses_them(
    warmed_up: Path, project: Path, stage: Callable[..., None], refusal: Callable[..., str]
) -> None:
    shutil.copytree(warmed_up / "cityscapes", project / "cityscapes")
    _, unlabeled = read_split(places.SPLIT)
    for name in unlabeled:
        (project / "cityscapes" / name).unlink()
    set_params(paths={"target": str(project / "cityscapes")}, co_train={"cross_supervision_start": 0.4})
    assert "but the index lists it" in refusal("co_train")
    set_params(co_train={"cross_supervision": False})
    stage("co_train")


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(
    project: Path, stage: Callable[..., None], script: tuple[str, ...]
) -> None:
    folder = project / "data" / name_of(script)
    results = []
    for workers in (0, 0, 2):
        set_params(runtime={"workers": workers})
        stage(*script)
        results.append(contents(folder))
    assert len(results[0]) >= 3
    for again in results[1:]:
        assert [name for name in results[0] if results[0][name] != again[name]] == []


def test_another_seed_gives_other_weights(project: Path, stage: Callable[..., None]) -> None:
    def weights() -> torch.Tensor:
        state = torch.load(project / "data/warm_up_target/network.pt", weights_only=True)["state"]
        return torch.cat([tensor.flatten().float() for tensor in state.values()])

    before = weights()
    set_params(**{"": {"seed": 1}})
    stage("warm_up", "target")
    assert not torch.equal(before, weights())
