import re
from pathlib import Path
from typing import Any

import pytest

from dstc.config.params import REMOVED, RENAMED, Params, check_params, read_params
from dstc.core.errors import UserError
from tests.preparation.trees import PROJECT, raw_params


def test_the_projects_own_file_is_valid() -> None:
    assert read_params(PROJECT / "params.yaml").split.seed == 0


def test_a_small_rate_as_dvc_writes_it_is_a_number(tmp_path: Path) -> None:
    text = (PROJECT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"weight_decay: \S+", "weight_decay: 2e-06", text))
    assert read_params(tmp_path / "params.yaml").optim.weight_decay == 2e-6


def refusal(**sections: dict[str, Any]) -> str:
    with pytest.raises(UserError) as refused:
        check_params(raw_params(**sections), "params.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"split": {"sise": 3}}, "params.yaml: split.sise: unknown key; did you mean 'size'?"),
        ({"co_train": {"batch.labelled_target": 2}}, "did you mean 'labeled_target'?"),
        ({"split": {"size": "many"}}, "params.yaml: split.size: must be a valid integer, not 'many'"),
        ({"split": {"size": 2.5}}, "split.size: must be a valid integer, not 2.5"),
        ({"split": {"size": True}}, "split.size: must be a valid integer, not True"),
        ({"split": {"size": 0}}, "split.size: must be greater than or equal to 1, not 0"),
        ({"co_train": {"class_mix": "yes"}}, "co_train.class_mix: must be a valid boolean, not 'yes'"),
        ({"data": {"source.layout": "gta"}}, "data.source.layout: must be 'gta5', "),
        ({"data": {"source.layout": "gta"}}, "not 'gta'; did you mean 'gta5'?"),
        ({"data": {"source.resize": [3]}}, "data.source.resize"),
        ({"evaluate": {"protocols": []}}, "evaluate.protocols"),
        (
            {"runtime": {"processes": 0}},
            "params.yaml: runtime.processes: must be auto or a number from 1 to 4096, not 0",
        ),
        ({"runtime": {"processes": "all"}}, "runtime.processes: must be auto or a number from 1 to 4096, not 'all'"),
        ({"runtime": {"cache_gigabytes": float("inf")}}, "runtime.cache_gigabytes: must be a finite number, not inf"),
        ({"warm_up": {"target.batch": 10**9}}, "warm_up.target.batch: must be less than or equal to 10000"),
        ({"optim": {"momentum": 1.0}}, "optim.momentum: must be less than 1, not 1.0"),
        (
            {"warm_up": {"source.schedule_iterations": 1}},
            "schedule_iterations (1) is where the learning rate reaches zero",
        ),
        (
            {"joint": {"iterations": 7, "schedule_iterations": 6}},
            "params.yaml: joint: schedule_iterations (6) is where the learning rate reaches zero; it needs iterations that "
            "are a number of at most so many, not 7, or must be null",
        ),
        ({"joint": {"schedule_iterations": 6}}, "a number of at most so many, not None, or must be null"),
        ({"joint": {"iterations": -1}}, "joint.iterations: must be greater than or equal to 0, not -1"),
        ({"joint": {"crop": [128, 15]}}, "joint.crop: sides must be at least 16"),
        (
            {"joint": {"iterations": 0}, "co_train": {"initialization": "both_from_joint"}},
            "co_train.initialization 'both_from_joint' starts from joint training, which joint.iterations 0 leaves out; "
            "set joint.iterations: null",
        ),
        ({"co_train": {"batch.unlabeled_target": 1}}, "batch.unlabeled_target must be at least 2"),
        (
            {"co_train": {"batch.source": 1}},
            "data combination 2 pastes one source image into each labeled target image",
        ),
        ({"co_train": {"lr_ramp_iterations": 10**9}}, "lr_ramp_iterations (1000000000) must be below iterations"),
        ({"paths": {"source": "/data"}}, "paths.source and paths.target must both be 'embedded' or both be folders"),
        ({"paths": {"unlabeled": ["here"]}}, "paths.unlabeled[0]: 'here' must be an absolute path"),
        ({"data": {"target.train": "./train/"}}, "data.target.train: must be written 'train', not './train/'"),
        ({"paths": {"unlabeled": ["embedded"]}}, "paths.unlabeled[0]: 'embedded' must be an absolute path"),
        ({"paths": {"unlabeled": ["/a", "/b", "/a/"]}}, "paths.unlabeled: '/a' is named more than once"),
        ({"data": {"target.layout": "csv"}}, "data.own.labels must say which label ids or colors mean which class"),
        (
            {"data": {"target.layout": "csv", "own.labels": {"road": [1]}, "own.target_labels": {}}},
            "data.own.target_labels must say which label ids or colors mean which class for layout 'csv'",
        ),
        ({"data": {"own.labels": {"rode": [1]}}}, "data.own.labels.rode: not a class of data.classes 'cityscapes_19'"),
        ({"data": {"classes": "own"}}, "data.classes is 'own', but layout 'gta5' has Cityscapes classes"),
        ({"model": {"backbone": "resnet11"}}, "model.backbone: must be one of resnet101, resnet50, mobilenet_v2, "),
        ({"model": {"backbone": "resnet11"}}, "not 'resnet11'; did you mean 'resnet101'?"),
        ({"model": {"output_stride": 32}}, "model.output_stride: must be 8 or 16, not 32"),
        (
            {"model": {"output_stride": 16}, "co_train": {"crop": [128, 31]}},
            "co_train.crop: sides must be at least 32 at model.output_stride 16, not [128, 31]",
        ),
        (
            {"model": {"backbone": "dinov2_small"}, "joint": {"crop": [128, 27]}},
            "joint.crop: sides must be at least 28 at the patch of dinov2_small, 14, not [128, 27]",
        ),
        ({"warm_up": {"source.lr_ramp_iterations": 400}}, "lr_ramp_iterations (400) must be below iterations (400)"),
        ({"joint": {"lr_ramp_iterations": 1800}}, "joint.lr_ramp_iterations (1800) must be below its 1800 iterations"),
        (
            {"optim": {"optimizer": "adamw", "layer_decay": 0.8}},
            "optim.layer_decay 0.8 is known of timm's networks alone, and model.backbone is 'narrow_resnet'; set it to 1",
        ),
        ({"warm_up": {"target.crop": [15, 16]}}, "warm_up.target.crop: sides must be at least 16"),
        ({"model": {"initial_weights": "imagenet"}}, "there are none for 'narrow_resnet'"),
        ({"model": {"initial_weights": "imagenet_v2"}}, "there are none for 'narrow_resnet'"),
        (
            {"model": {"initial_weights": "imagnet"}},
            "model.initial_weights 'imagnet': must be none, imagenet, imagenet_v2, pretrained, or the absolute path of a "
            "file; did you mean 'imagenet'?",
        ),
        ({"model": {"initial_weights": "weights/a.pth"}}, "or the absolute path of a file"),
        (
            {"model": {"initial_weights": "imagenet", "backbone": "resnet50", "normalization": "caffe_bgr"}},
            "made for model.normalization 'imagenet_rgb'",
        ),
        (
            {"model": {"initial_weights": "imagenet", "backbone": "resnet50", "stride_on": "first_conv"}},
            "made for model.stride_on 'second_conv'",
        ),
    ],
)
def test_bad_values_are_refused_with_key_rule_and_value(sections: dict[str, dict[str, Any]], message: str) -> None:
    assert message in refusal(**sections)


OWN = {"classes": "own", "source.layout": "folders", "target.layout": "csv"}
FOLDERS = {"source": "/a", "target": "/b"}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"own.class_names": ["road"]}, "data.own.class_names must hold 2 to 254 different names"),
        ({"own.labels": {"road": [1]}}, "data.own.labels must have an entry for each class; missing: ['rail']"),
        ({"own.labels": {"raod": [1]}}, "data.own.labels.raod: not among data.own.class_names; did you mean 'road'?"),
        (
            {"own.target_labels": {"road": [0]}},
            "data.own.target_labels must have an entry for each class; missing: ['rail'] (give []",
        ),
        (
            {"own.target_labels": {"road": [0], "rail": [], "rial": [1]}},
            "data.own.target_labels.rial: not among data.own.class_names; did you mean 'rail'?",
        ),
        ({"own.target_ignored": [0]}, "data.own.target_ignored goes with data.own.target_labels, which is null"),
        ({"own.tolerance": 256}, "data.own.tolerance: must be less than or equal to 255, not 256"),
        (
            {"own.colors": {"rial": "#000001"}},
            "data.own.colors.rial: not among data.own.class_names; did you mean 'rail'?",
        ),
    ],
)
def test_own_classes_that_contradict_themselves_are_refused(own: dict[str, Any], message: str) -> None:
    valid = {"own.class_names": ["road", "rail"], "own.labels": {"road": [0], "rail": ["#000001"]}}
    check_params(raw_params(paths=FOLDERS, data=OWN | valid), "params.yaml")
    assert message in refusal(paths=FOLDERS, data=OWN | valid | own)


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"scales": []}, "evaluate.scales: List should have at least 1 item"),
        ({"scales": [1.0, 0.0]}, "evaluate.scales.1: must be greater than or equal to 0.1, not 0.0"),
        ({"window": [512]}, "evaluate.window: List should have at least 2 items"),
        ({"window": [512, 8]}, "evaluate.window.1: must be greater than or equal to 16, not 8"),
    ],
)
def test_views_that_no_network_could_be_shown_are_refused(evaluate: dict[str, Any], message: str) -> None:
    assert message in refusal(evaluate=evaluate)


def test_all_faults_are_listed_one_a_line() -> None:
    lines = refusal(split={"size": 0, "sede": 1}, runtime={"workers": -1}).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("params.yaml: ") for line in lines)


@pytest.mark.parametrize("place", ["off", "cache", "./cache"])
def test_the_cache_is_placed_by_an_absolute_path(place: str) -> None:
    for known in ("auto", "none", "/big/disk"):
        check_params(raw_params(runtime={"cache": known}), "params.yaml")
    assert "runtime: cache must be 'auto', 'none' or an absolute path" in refusal(runtime={"cache": place})


def at(tree: Any, dotted: str) -> tuple[Any, str]:
    """The section that a dotted key is in, and the key's last part."""
    *parts, last = dotted.split(".")
    for part in parts:
        tree = tree[part] if isinstance(tree, dict) else tree.model_fields[part].annotation
    return tree, last


@pytest.mark.parametrize("old", RENAMED)
def test_a_parameter_under_its_old_name_is_refused_with_the_new_one_and_nothing_else(old: str) -> None:
    raw = raw_params()
    section, new = at(raw, RENAMED[old])
    old_section, old_key = at(raw, old)
    old_section[old_key] = section.pop(new)
    message = f"params.yaml: {old}: was renamed to {RENAMED[old]}; write that instead"
    with pytest.raises(UserError) as refused:
        check_params(raw, "params.yaml")
    assert str(refused.value) == message
    section[new] = 0  # given twice, as by an old preset; and wrong at that
    with pytest.raises(UserError) as refused:
        check_params(raw | {"seed": -1}, "params.yaml")
    assert message in str(refused.value).splitlines()
    assert "seed: must be" in str(refused.value)


@pytest.mark.parametrize("old", REMOVED)
def test_a_parameter_that_was_removed_is_refused_with_the_reason(old: str) -> None:
    section, _, key = old.rpartition(".")
    assert refusal(**{section: {key: 1}}) == f"params.yaml: {old}: was removed ({REMOVED[old]}); delete the line"


def test_no_parameter_has_an_old_name() -> None:
    assert [old for old in RENAMED if at(Params, old)[1] in at(Params, old)[0].model_fields] == []
    assert [old for old, new in RENAMED.items() if at(Params, new)[1] not in at(Params, new)[0].model_fields] == []


def test_a_missing_key_is_named() -> None:
    raw = raw_params()
    del raw["split"]["seed"]
    with pytest.raises(UserError, match=r"params\.yaml: split\.seed: missing; every key must be given"):
        check_params(raw, "params.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a mapping of sections, not NoneType"),
        ("- 1", "must hold a mapping of sections, not list"),
        ("a: [", "not valid YAML"),
        ("seed: 1\nseed: 2\n", 'not valid YAML: .*duplicate key "seed"'),
        ("split:\n  size: 1\n  size: 2\n", 'duplicate key "size"'),
        ("a: \xff", "not valid YAML"),
        ("split: 3\n", r"split: must be a valid dictionary or (object|instance)"),
    ],
)
def test_files_that_hold_no_parameters_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run from the project's root"):
        read_params(tmp_path / "params.yaml")
