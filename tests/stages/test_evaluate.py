"""The whole stage in a folder of its own: five untrained networks, five small val images of two sizes."""

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch.optim.swa_utils import AveragedModel

from dstc.config.params import read_params
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex, Entry, digest, load_index, save_index
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, SYNTHIA_16, train_ids
from dstc.evaluation.rows import AVERAGE, ROWS
from dstc.models.checkpoints import read_tensors
from dstc.training.context import TrainingContext
from stages.evaluate import CHECKPOINTS, evaluate_networks, main

ROOT = Path(__file__).parents[2]
CURVES = [
    f"{kind}_{stage}.csv"
    for stage in ("warm_up_source", "warm_up_target", "joint", "co_train")
    for kind in ("losses", "validation")
]
SIZES = [(48, 32), (48, 32), (48, 32), (40, 32), (48, 32)]


def write_val_images(folder):
    """Images as (width, height) of SIZES, labels as Cityscapes label ids, and their index."""
    draws, entries = np.random.default_rng(0), []
    for position, (width, height) in enumerate(SIZES):
        names = f"ulm/{position}.png", f"ulm/{position}_label.png"
        label = draws.choice([0, 7, 11, 23, 26], (height // 8, width // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        for name, pixels in zip(
            names, (draws.integers(0, 256, (height, width, 3), dtype=np.uint8), label), strict=True
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name)
        digests = [digest((folder / name).read_bytes()) for name in names]
        entries.append(Entry(names[0], digests[0], width, height, names[1], digests[1]))
    ids = train_ids("cityscapes", CITYSCAPES_19)
    return DomainIndex("target", CITYSCAPES_19.names, CITYSCAPES_19.colors, ids, tuple(entries), resize=(24, 16))


@pytest.fixture(scope="module")
def finished_trainings(tmp_path_factory):
    """A project folder as it is when evaluate begins."""
    project = tmp_path_factory.mktemp("project")
    content = YAML().load(ROOT / "params.yaml")
    content["paths"].update(source=str(project / "none"), target=str(project / "images"))
    content["evaluate"].update(batch=2, pictures=2)
    content["runtime"].update(device="cpu", workers=0, threads=1)
    YAML().dump(content, project / "params.yaml")
    index = write_val_images(project / "images")
    save_index(index, project / "data/index/target_val.json")
    (project / "data/split").mkdir()
    (project / "data/split/labeled.txt").write_text("a.png\nb.png\nc.png\n")
    (project / "data/split/unlabeled.txt").write_text("d.png\n")
    for seed, path in enumerate(CHECKPOINTS.values()):
        context = TrainingContext.of(read_params(project / "params.yaml"), index.classes)
        context = dataclasses.replace(context, networks=dataclasses.replace(context.networks, seed=seed))
        context.save(project / path, context.networks.new(), trained="test")
        for curve in ("losses", "validation"):
            (project / path.parent / f"{curve}.csv").write_text(f"iteration,{path.parent.name}\n1,0.5\n")
    return project


@pytest.fixture
def project(finished_trainings, tmp_path, monkeypatch):
    """A copy to change; the images stay where they are."""
    shutil.copytree(finished_trainings, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("images"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change_params(**sections):
    content = YAML().load(Path("params.yaml"))
    for name, values in sections.items():
        content[name].update(values)
    YAML().dump(content, Path("params.yaml"))


def test_the_stage_writes_scores_tables_curves_and_pictures_and_prints_the_rows(project, capsys):
    evaluate_networks()
    metrics = project / "metrics"
    assert sorted(path.name for path in metrics.iterdir()) == sorted(
        ["confusion.csv", "iou_per_class.csv", "pictures", "scores.json", "summary.json", *CURVES]
    )
    summary = json.loads((metrics / "summary.json").read_text())
    assert (summary["labeled_images"], summary["chosen_on_val"]) == (3, 0)
    scores = json.loads((metrics / "scores.json").read_text())
    for protocol in ("half", "full"):
        assert list(scores[protocol]) == list(summary[protocol])[: len(ROWS)] == list(ROWS)
        assert all(summary[protocol][row] == scores[protocol][row]["miou"] for row in ROWS)
        assert len({json.dumps(row) for row in scores[protocol].values()}) > len(ROWS) / 2  # different networks
    said = read_tensors(CHECKPOINTS["joint"])["description"]
    assert list(scores["trained_with"]) == list(CHECKPOINTS)
    assert scores["trained_with"]["joint"] == {"torch": said["torch"], **said["computed_with"]}
    assert (metrics / "losses_co_train.csv").read_text() == "iteration,co_train\n1,0.5\n"
    assert sorted(path.name for path in (metrics / "pictures").iterdir()) == ["1.png", "3.png"]
    printed = capsys.readouterr().out
    assert all(title in printed for title in ROWS.values())


def test_the_averaged_networks_are_scored_or_on_demand_the_last_ones(project):
    context = TrainingContext.of(read_params(), CITYSCAPES_19)
    builder = dataclasses.replace(context.networks, seed=9)
    other = dataclasses.replace(context, networks=dataclasses.replace(context.networks, seed=8))
    path = CHECKPOINTS["joint"]
    scores = {}
    for weights, average in (("ema", None), ("ema", other.networks.new()), ("last", other.networks.new())):
        context.save(project / path, builder.new(), None if average is None else AveragedModel(average), trained="test")
        change_params(evaluate={"weights": weights, "pictures": 0})
        evaluate_networks()
        key = weights, average is not None
        scores[key] = json.loads((project / "metrics/scores.json").read_text())["half"]["joint"]
    assert scores["ema", False] == scores["last", True] != scores["ema", True]


def test_statistics_of_unlabeled_target_images_change_scores_but_not_checkpoints(project, capsys):
    index = load_index(Path("data/index/target_val.json"))
    save_index(index, Path("data/index/target_train.json"))
    Path("data/split/unlabeled.txt").write_text("".join(f"{entry.name}\n" for entry in index.entries[:4]))
    before, scores = CHECKPOINTS["joint"].read_bytes(), {}
    for batch_norm in ("trained", "target"):
        change_params(evaluate={"batch_norm": batch_norm, "pictures": 0})
        evaluate_networks()
        scores[batch_norm] = json.loads((project / "metrics/scores.json").read_text())["half"]
    assert scores["trained"] != scores["target"]
    assert CHECKPOINTS["joint"].read_bytes() == before
    Path("data/split/unlabeled.txt").write_text("")
    evaluate_networks()
    assert "every target image is labeled, so the statistics stay as they were trained" in capsys.readouterr().out
    assert json.loads((project / "metrics/scores.json").read_text())["half"] == scores["trained"]


@pytest.mark.usefixtures("project")
def test_the_full_protocol_counts_each_labeled_pixel_of_the_files(monkeypatch):
    kept = []
    monkeypatch.setattr("stages.evaluate.tables.write_tables", lambda _, confusion, *__: kept.append(confusion))
    evaluate_networks()
    index = load_index(Path("data/index/target_val.json"))
    images = Path(read_params().paths.target)
    ids = np.array([index.label_ids.get(value, IGNORE) for value in range(256)])
    labels = [ids[np.asarray(Image.open(images / entry.label))] for entry in index.entries]
    expected = [sum(int((label == k).sum()) for label in labels) for k in range(19)]
    assert kept[0]["full"]["average"].counts.sum(1).tolist() == expected
    assert int(kept[0]["half"]["average"].counts.sum()) <= 5 * 24 * 16


def test_pictures_can_be_asked_for_by_name_and_an_unknown_name_stops_before_any_work(project):
    change_params(evaluate={"picture_names": ["ulm/4.png"]})
    evaluate_networks()
    assert [path.name for path in (project / "metrics/pictures").iterdir()] == ["4.png"]
    shutil.rmtree(project / "metrics")
    change_params(evaluate={"picture_names": ["ulm/44.png"]})
    with pytest.raises(UserError, match=r"did you mean 'ulm/4\.png'"):
        evaluate_networks()
    assert not (project / "metrics").exists()


def test_a_choice_made_on_the_val_images_is_said_in_the_metrics(project):
    change_params(co_train={"choose_checkpoint": "best_on_val"}, evaluate={"protocols": ["half"], "pictures": 0})
    evaluate_networks()
    summary = json.loads((project / "metrics/summary.json").read_text())
    assert summary["chosen_on_val"] == 1
    assert "full" not in summary
    assert list((project / "metrics/pictures").iterdir()) == []


def test_test_time_augmentation_is_reported_apart(project, capsys):
    change_params(evaluate={"flip": True, "scales": [1.0, 1.5], "window": [16, 16], "pictures": 0})
    evaluate_networks()
    summary = json.loads((project / "metrics/summary.json").read_text())
    assert list(summary)[:4] == ["half", "full", "half_tta", "full_tta"]
    assert summary["half"] != summary["half_tta"]
    assert "full_tta miou_16" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["ulm/3.png", "ulm/3_label.png"])
def test_a_changed_file_is_refused_with_its_name_and_the_cure(project, changed):
    images = shutil.copytree(read_params().paths.target, project / "images")
    change_params(paths={"target": str(images)})
    Image.new("L", (40, 32), 7).save(images / changed)
    with pytest.raises(UserError, match=rf"{changed}: .*dvc repro -f prepare_data"):
        evaluate_networks()
    assert not (project / "metrics").exists()


# --- any checkpoint, by --checkpoint


def score(monkeypatch, capsys, *files):
    """What the command prints, and nothing is written."""
    before = sorted(path for path in Path().rglob("*") if ".work" not in path.parts)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--checkpoint", *map(str, files)])
    main()
    assert sorted(path for path in Path().rglob("*") if ".work" not in path.parts) == before  # but the cache of images
    return capsys.readouterr().out


def refusal(monkeypatch, capsys, *files):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--checkpoint", *map(str, files)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    return capsys.readouterr().err


def lines_of(printed):
    """mIoU of half and full by the row's name, from the printed table."""
    head = next(number for number, line in enumerate(printed.splitlines()) if line.split()[:2] == ["half", "miou"])
    table = itertools.takewhile(str.strip, printed.splitlines()[head + 1 :])
    return {" ".join(line.split()[:-6]): (float(line.split()[-6]), float(line.split()[-3])) for line in table}


def decided(own, path, **model):
    """A checkpoint whose untrained network says something else from pixel to pixel, and scores above zero."""
    content, draws = torch.load(own, weights_only=True), torch.Generator().manual_seed(0)
    content["description"]["model"].update(model)
    for number in range(4):
        weight, bias = (content["state"][f"classifier.{number}.{part}"] for part in ("weight", "bias"))
        bias[:] = -1000
        for train_id in (0, 2, 10, 13):  # the classes of the images
            bias[train_id] = 0
            weight[train_id] = torch.randn(weight.shape[1:], generator=draws)
    torch.save(content, path)
    return path


def as_released(own, path):
    """A file as the released code saves it, with the weights of a checkpoint of this project."""
    state = torch.load(own, weights_only=True)["state"]
    names = {"backbone.": "segnet.", "classifier.": "segnet.layer6.conv2d_list."}
    torch.save({names[(part := key.split(".")[0] + ".")] + key.removeprefix(part): v for key, v in state.items()}, path)
    return path


def test_checkpoints_by_name_score_as_in_the_stage_with_the_average_of_several(project, monkeypatch, capsys):
    for row in ("source_biased", "target_biased"):
        decided(CHECKPOINTS[row], CHECKPOINTS[row])
    evaluate_networks()
    capsys.readouterr()
    expected = json.loads((project / "metrics/summary.json").read_text())
    files = {row: CHECKPOINTS[row] for row in ("source_biased", "target_biased")}
    scores = lines_of(score(monkeypatch, capsys, *files.values()))
    assert list(scores) == [*map(str, files.values()), ROWS[AVERAGE]]
    assert len(set(scores.values())) == 3
    for row, name in {**files, AVERAGE: ROWS[AVERAGE]}.items():
        assert scores[str(name)] == (expected["half"][row], expected["full"][row])
    assert list(lines_of(score(monkeypatch, capsys, files["source_biased"]))) == [str(files["source_biased"])]


def test_a_checkpoint_of_the_released_code_gets_the_images_it_is_made_for(project, monkeypatch, capsys):
    """params.yaml asks for another preprocessing; the weights decide."""
    assert read_params().model.normalization == "imagenet_rgb"
    own = decided(CHECKPOINTS["source_biased"], project / "rgb.pth")
    released = as_released(own, project / "best_1.pth")
    printed = score(monkeypatch, capsys, released)
    assert f"{released}: a checkpoint of the released code" in printed
    assert "model.stride_on first_conv, model.output_stride 8, model.normalization caffe_bgr" in printed
    scores = lines_of(printed)[str(released)]
    assert all(0 < value < 100 for value in scores)
    same = decided(CHECKPOINTS["source_biased"], project / "bgr.pth", normalization="caffe_bgr")
    assert lines_of(score(monkeypatch, capsys, same))[str(same)] == scores
    assert lines_of(score(monkeypatch, capsys, own))[str(own)] != scores


def test_files_that_cannot_be_scored_are_refused_with_both_sides_named(project, monkeypatch, capsys):
    own = CHECKPOINTS["source_biased"]
    released = as_released(own, project / "best_1.pth")
    message = refusal(monkeypatch, capsys, own, released)
    assert "'normalization': 'imagenet_rgb'" in message
    assert "'normalization': 'caffe_bgr'" in message
    assert "score them one by one" in message
    change_params(model={"backbone": "mobilenet_v2"})
    message = refusal(monkeypatch, capsys, released)
    assert "best_1.pth: is a checkpoint of the released code and does not fit model.backbone 'mobilenet_v2'" in message
    index = load_index(Path("data/index/target_val.json"))
    classes = {"class_names": SYNTHIA_16.names, "class_colors": SYNTHIA_16.colors}
    save_index(dataclasses.replace(index, **classes), Path("data/index/target_val.json"))
    message = refusal(monkeypatch, capsys, released)
    assert "was trained for the classes ['road', 'sidewalk'" in message
    assert "'truck'" in message.split(", not [")[0]
    assert "'truck'" not in message.split(", not [")[1]


@pytest.mark.usefixtures("project")
def test_dvc_accepts_the_template_of_the_confusion_plot():
    evaluate_networks()
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], check=True)
    shutil.copytree(ROOT / ".dvc/plots", ".dvc/plots", dirs_exist_ok=True)
    columns = {"x": {"metrics/confusion.csv": "predicted"}, "y": {"metrics/confusion.csv": "actual"}}
    Path("dvc.yaml").write_text(json.dumps({"plots": [{"confusion": {"template": "confusion_rates", **columns}}]}))
    shown = subprocess.run(
        [*dvc, "plots", "show", "confusion", "--show-vega"], check=True, capture_output=True, text=True
    )
    plot = json.loads(shown.stdout)
    assert {"actual", "predicted", "rate"} < set(plot["data"]["values"][0])
    assert plot["spec"]["encoding"]["x"]["field"] == "predicted"
    assert "<DVC_METRIC" not in shown.stdout
