"""Presets: overlays that are merged into params.yaml, or printed as flags for `dvc exp run`."""

from __future__ import annotations

import copy
import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from dstc.config.params import Params, check_params, read_params, read_yaml
from dstc.core.errors import UserError
from dstc.presets import main, merge, merged_text, preset_names, resolve, value_at

ROOT = Path(__file__).parents[1]
PATHS = ["paths.source=/data/a b", "paths.target=/data/target"]
WEIGHTS = ["model.initial_weights=/data/w-1_x.pth"]
NAMES = preset_names(ROOT / "presets")

RELEASED_ROWS = {  # the rows of the table of silent decisions that are parameters on which both sides differ
    "optim.ema_decay": (0.999, 0.0),
    "evaluate.weights": ("ema", "last"),
    "co_train.alignment_counts_void": (False, True),
    "co_train.teacher_batch_norm": ("running", "batch"),
    "co_train.combination": ("differentiated_and_target", "differentiated"),
    "co_train.teachers": ("averaged", "branches"),
    "co_train.confidence_threshold": (0.9, 0.0),
    "co_train.cross_supervision_start": (0.25, 0.0),
    "co_train.color_augmentation": ("strong", "none"),
    "co_train.paste_with_replacement": (False, True),
    "co_train.update": ("simultaneous", "sequential"),
    "co_train.choose_checkpoint": ("last", "best_on_val"),
    "optim.backbone_multiplier": (1.0, 3.0),
    "warm_up.source.schedule_iterations": (None, 250_000),
    "warm_up.target.schedule_iterations": (None, 250_000),
    "co_train.schedule_iterations": (None, 250_000),
    "model.initial_weights": ("imagenet", "/data/w-1_x.pth"),
    "model.stride_on": ("second_conv", "first_conv"),
    "model.normalization": ("imagenet_rgb", "caffe_bgr"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets touch, as the current folder. Its paths are those of the built-in data set, as shipped."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_for(name: str) -> list[str]:
    return PATHS + (WEIGHTS if name.endswith("_released") or name == "carla_camvid" else [])


@functools.cache
def merged(name: str) -> dict[str, object]:
    """The parameters that a preset makes of params.yaml as shipped."""
    return resolve(name, settings_for(name), read_yaml(ROOT / "params.yaml"), ROOT / "presets")[1]


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Dotted keys of all parameters; sections only are descended into."""
    pairs: dict[str, object] = {}
    for key, value in tree.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return pairs


def differences(one: dict[str, object], other: dict[str, object]) -> dict[str, tuple[object, object]]:
    a, b = flat(one), flat(other)
    return {key: (a.get(key), b.get(key)) for key in a.keys() | b.keys() if a.get(key) != b.get(key)}


def comments(text: str) -> list[str]:
    return re.findall(r"(?:^| )#.*$", text, re.MULTILINE)


def refusal(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    return capsys.readouterr().err


# --- the presets themselves


def test_the_nine_presets_are_there_and_parts_are_not_among_them() -> None:
    assert NAMES == [
        "carla_camvid",
        "gta5_cityscapes",
        "gta5_cityscapes_dinov2",
        "gta5_cityscapes_dinov3",
        "gta5_cityscapes_released",
        "synthia_cityscapes",
        "synthia_cityscapes_dinov2",
        "synthia_cityscapes_dinov3",
        "synthia_cityscapes_released",
    ]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", NAMES)
def test_a_merged_preset_is_valid_and_keeps_every_comment(name: str) -> None:
    before = Path("params.yaml").read_text()
    main([name, *settings_for(name)])
    after = Path("params.yaml").read_text()
    assert read_params().paths.source == "/data/a b"
    assert comments(after) == comments(before)
    assert len(after.splitlines()) == len(before.splitlines())


def test_gta5_released_differs_from_recommended_in_the_rows_of_the_table_alone() -> None:
    rows = differences(merged("gta5_cityscapes"), merged("gta5_cityscapes_released"))
    assert rows == {**RELEASED_ROWS, "data.source.held_out": (0, 500)}


def test_synthia_released_differs_from_recommended_in_the_rows_of_the_table_alone() -> None:
    assert differences(merged("synthia_cityscapes"), merged("synthia_cityscapes_released")) == RELEASED_ROWS


@pytest.mark.parametrize("version", ["dinov2", "dinov3"])
def test_the_two_sources_of_a_transformer_differ_in_their_data_alone(version: str) -> None:
    rows = differences(merged(f"gta5_cityscapes_{version}"), merged(f"synthia_cityscapes_{version}"))
    assert rows == differences(merged("gta5_cityscapes"), merged("synthia_cityscapes"))
    changed = differences(merged("gta5_cityscapes"), merged(f"gta5_cityscapes_{version}"))
    assert {key.split(".")[0] for key in changed} == {"model", "optim", "warm_up", "joint", "co_train"}
    assert changed["model.initial_weights"] == ("imagenet", "pretrained")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("version", ["dinov2", "dinov3"])
def test_a_draft_of_own_data_takes_a_transformer_by_extending_its_part(version: str) -> None:
    own = {"class_names": ["road", "car"], "labels": {"road": [1], "car": [2]}}
    data = {"classes": "own", "source": {"layout": "folders"}, "target": {"layout": "folders"}, "own": own}
    YAML().dump({"about": "own", "extends": ["_recommended", f"_{version}"], "data": data}, Path("presets/own.yaml"))
    main(["own", *PATHS])
    params = read_params()
    assert params.data.own.class_names == ["road", "car"]
    assert (params.model.backbone, params.model.head, params.optim.optimizer) == (f"{version}_small", "dpt", "adamw")


def test_rows_on_which_both_sides_agree_have_the_released_value() -> None:
    params: Params = check_params(merged("gta5_cityscapes_released"), "")
    assert (params.co_train.color_augmentation, params.co_train.teachers_run) == ("none", "in_turn")
    assert (params.model.batch_norm_affine, params.model.batch_norm_statistics) == ("frozen", "batch")
    assert (params.co_train.alignment_weight, params.co_train.iterations) == (0.1, 120_000)


def test_synthia_differs_from_gta5_in_its_source_and_classes_alone() -> None:
    assert differences(merged("gta5_cityscapes"), merged("synthia_cityscapes")) == {
        "data.classes": ("cityscapes_19", "synthia_16"),
        "data.source.layout": ("gta5", "synthia"),
        "data.source.resize": ([1280, 720], None),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_means_the_same_whatever_preset_came_before(name: str) -> None:
    for other in NAMES:
        assert resolve(name, settings_for(name), merged(other), ROOT / "presets")[1] == merged(name), other


def test_the_default_is_params_yaml_as_it_is_shipped_but_for_the_users_own_section() -> None:
    shipped = read_yaml(ROOT / "params.yaml")
    del shipped["runtime"]
    assert read_yaml(ROOT / "presets/_default.yaml") == shipped


OWN = """\
paths: {source: /rendered, target: /photos}
data:
  classes: own
  source: {layout: folders, resize: null}
  target: {layout: csv}
  own: {class_names: [road, car], labels: {road: [1], car: [2]}, target_labels: {road: ["#000000"], car: ["#ffffff"]}}
"""


def own_preset(project: Path, name: str = "own", text: str = OWN) -> None:
    (project / f"presets/{name}.yaml").write_text(text)


@pytest.mark.parametrize("flags", [False, True], ids=["merged", "as flags"])
@pytest.mark.parametrize(
    "order", [["gta5_cityscapes_released", "own", "other"], ["other", "own", "synthia_cityscapes"]]
)
def test_presets_of_ones_own_and_the_projects_follow_each_other_without_a_trace(
    project: Path, order: list[str], flags: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    own_preset(project)
    other = OWN.replace("road", "way").replace("car", "van").replace("}}", "}, colors: {way: '#010203'}}")
    own_preset(project, "other", f"{other}model: {{backbone: mobilenet_v2}}\noptim: {{momentum: 0.5}}\n")
    shipped = (project / "params.yaml").read_text()
    for name in order:
        given = settings_for(name) if "_" in name else []
        expected = resolve(name, given, YAML(typ="safe").load(shipped))[1]
        if flags:
            capsys.readouterr()
            main([name, *given, "--flags"])
            apply_overrides("params.yaml", to_path_overrides(shlex.split(capsys.readouterr().out)[1::2])["params.yaml"])
        else:
            main([name, *given])
            assert comments((project / "params.yaml").read_text()) == comments(shipped)
        assert read_yaml(Path("params.yaml")) == expected, name
        read_params()


def test_the_users_own_section_and_folders_without_labels_stay(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_preset(project)
    main(["gta5_cityscapes", *PATHS, "paths.unlabeled=[/more]", "runtime.device=cpu", "seed=3"])
    main(["synthia_cityscapes"])
    params = read_params()
    assert (params.paths.unlabeled, params.runtime.device, params.seed) == (["/more"], "cpu", 0)
    assert "paths.unlabeled: kept ['/more']" in capsys.readouterr().out.replace("[/more]", "['/more']")
    main(["own"])
    assert read_params().paths.unlabeled == []


def test_no_preset_holds_a_path_of_somebodys_disk() -> None:
    for name in NAMES:
        overlay, _ = resolve(name, settings_for(name), read_yaml(ROOT / "params.yaml"), ROOT / "presets")
        given = {setting.split("=")[1] for setting in settings_for(name)}
        assert not [v for v in flat(overlay).values() if isinstance(v, str) and v.startswith("/") and v not in given]


# --- merging


def test_an_unchanged_params_file_comes_back_byte_by_byte() -> None:
    text = (ROOT / "params.yaml").read_text()
    assert merged_text(text, {}) == text
    assert merged_text(text, read_yaml(ROOT / "params.yaml")) == text


def test_a_changed_value_changes_its_own_line_alone() -> None:
    text = "a:\n  b: [1, 2]   # why\n  c: 'x'   # far\n\n  # apart\n  d: null # e\n"
    assert merged_text(text, {"a": {"b": None}}) == text.replace("[1, 2]   #", "null #")
    assert merged_text(text, {"a": {"d": [3, 4]}}) == text.replace("null", "[3, 4]")
    assert merged_text(text, {"a": {"d": 2e-06}}) == text.replace("null", "2e-06")


def test_a_table_that_is_no_section_is_replaced_as_a_whole() -> None:
    text = "a:\n  labels: {x: [1], y: [2]} # why\n"
    assert merged_text(text, {"a": {"labels": {"z": [3]}}}, {"a": {"labels": {}}}) == "a:\n  labels: {z: [3]} # why\n"
    assert merged_text(text, {"a": {"labels": {}}}, {"a": {"labels": {}}}) == "a:\n  labels: {} # why\n"


def test_merging_replaces_lists_and_keeps_the_rest_of_a_section() -> None:
    tree = {"a": {"list": [1, 2], "kept": 1}, "b": 2}
    overlay = {"a": {"list": [3]}}
    merge(tree, overlay)
    assert tree == {"a": {"list": [3], "kept": 1}, "b": 2}
    tree["a"]["list"].append(4)  # type: ignore[index]
    assert overlay == {"a": {"list": [3]}}, "the overlay must not be aliased"


@pytest.mark.usefixtures("project")
def test_settings_typed_beside_a_preset_win_over_it() -> None:
    main(["gta5_cityscapes", *PATHS, "split.size=200", "co_train.crop=[640, 320]", "optim.weight_decay=2e-06"])
    params = read_params()
    assert (params.split.size, params.co_train.crop, params.optim.weight_decay) == (200, [640, 320], 2e-06)


@pytest.mark.usefixtures("project")
def test_merging_prints_what_changed_and_which_paths_it_kept(capsys: pytest.CaptureFixture[str]) -> None:
    main(["gta5_cityscapes", *PATHS, "split.size=20", "data.source.resize=[256, 144]"])
    capsys.readouterr()
    main(["gta5_cityscapes", *PATHS])
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["data.source.resize: [256,144] -> [1280,720]", "split.size: 20 -> 100"]
    main(["gta5_cityscapes"])
    assert capsys.readouterr().out.splitlines() == [
        "params.yaml already holds preset 'gta5_cityscapes'",
        "paths.source: kept /data/a b",
        "paths.target: kept /data/target",
    ]


@pytest.mark.usefixtures("project")
def test_merging_says_of_which_layout_a_kept_path_was(capsys: pytest.CaptureFixture[str]) -> None:
    main(["gta5_cityscapes", *PATHS])
    main(["synthia_cityscapes"])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "paths.source: kept /data/a b, which was for data of layout gta5; now data.source.layout is synthia",
        "paths.target: kept /data/target",
    ]


# --- flags

AWKWARD = [
    "runtime.device=cuda:1",
    "co_train.learning_rate=2e-06",
    "optim.weight_decay=0",
    "split.file='1e5'",
    "evaluate.picture_names=['true', \"it's, {odd}\", 'back\\']",
    "data.own.ignored=[255, '#000000']",
    "data.own.labels={traffic light: [6]}",
    "data.own.labels.road=[7, '#804080']",
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", NAMES)
def test_flags_read_by_dvc_itself_give_the_merged_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("params.yaml", "by_flags.yaml")
    main([name, "--flags", *settings_for(name), *AWKWARD])
    words = shlex.split(capsys.readouterr().out)
    assert set(words[::2]) == {"-S"}
    main([name, *settings_for(name), *AWKWARD])
    apply_overrides("by_flags.yaml", to_path_overrides(words[1::2])["params.yaml"])
    assert repr(read_yaml(Path("by_flags.yaml"))) == repr(read_yaml(Path("params.yaml")))  # repr: 1, 1.0, True differ


def test_flags_write_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "params.yaml").read_bytes()
    main(["gta5_cityscapes", *PATHS, "--flags"])
    assert "-S 'co_train.crop=[512,512]'" in capsys.readouterr().out
    assert (project / "params.yaml").read_bytes() == before


# --- refusals


def test_an_unknown_preset_is_refused_with_the_nearest_name_and_the_list(project: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean 'gta5_cityscapes'\?\n.*carla_camvid, gta5_cityscapes,"):
        resolve("gta5_cityscape", [], {}, project / "presets")
    with pytest.raises(UserError, match="'_released': there is none"):
        resolve("_released", [], {}, project / "presets")


def test_missing_paths_are_refused_with_the_command_to_type(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    message = refusal("synthia_cityscapes", "split.size=200", capsys=capsys)
    assert "paths.source, paths.target: must be given" in message
    command = "synthia_cityscapes split.size=200 paths.source=/path/to/RAND_CITYSCAPES paths.target=/path/to/cityscapes"
    assert f"python -m dstc.presets {command}\n" in message
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.usefixtures("project")
def test_the_released_presets_demand_their_weights_file(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal("gta5_cityscapes_released", *PATHS, capsys=capsys)
    assert "model.initial_weights: must be given" in message
    assert "DeepLab_resnet_pretrained_init-f81d91e8.pth" in message


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("co_train.itertions=3", "unknown key; did you mean 'iterations'?"),
        ("paths.source=data/gta5", "must be an absolute path"),
        ("co_train.crop=[512", "not valid YAML"),
        ("co_train.schedule_iterations=3", "schedule_iterations (3) is where the learning rate reaches zero"),
        ("co_train.iterations", "must be key=value"),
        ("co_train..iterations=1", "must be key=value"),
        ("co_train=3", "co_train: must be"),
        ("co_train.class_mix=1", "must be a valid boolean"),
    ],
)
def test_a_bad_setting_is_refused_and_nothing_is_written(
    setting: str, complaint: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert complaint in refusal("gta5_cityscapes", *PATHS, setting, capsys=capsys)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_presets_that_extend_each_other_are_refused(project: Path) -> None:
    (project / "presets" / "one.yaml").write_text("extends: two\n")
    (project / "presets" / "two.yaml").write_text("extends: [_released, one]\n")
    with pytest.raises(UserError, match="one -> two -> one"):
        resolve("one", [], {}, project / "presets")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("extends: gta5_cityscape", "did you mean 'gta5_cityscapes'"),
        ("extends: 3", "extends: must be a list, not 3"),
        ("requires: paths.source", "requires: must be a dict"),
        ("co_trian: {crop: [1, 1]}", "co_trian: unknown key; did you mean 'co_train'"),
    ],
)
def test_a_faulty_preset_is_refused(text: str, complaint: str, project: Path) -> None:
    (project / "presets" / "own.yaml").write_text(text + "\n")
    with pytest.raises(UserError, match=re.escape(complaint)):
        resolve("own", [], copy.deepcopy(read_yaml(project / "params.yaml")))


@pytest.mark.usefixtures("project")
def test_the_list_shows_each_preset_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split()) > 3 for line in lines)


def test_a_value_is_found_by_its_dotted_key_or_is_none() -> None:
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": {"b": 1}}, "a.b.c") is None
