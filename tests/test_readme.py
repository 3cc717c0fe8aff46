"""What README, CONTRIBUTING and the pages under docs/ claim about the tree is true."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torchvision.models import resnet152

from dstc.config import model_rules, params
from dstc.models import backbones
from dstc.models.backbones import BACKBONES, Backbone
from dstc.models.segmentation import build_backbone
from dstc.preparation.label_rules import label_rules, task_classes
from tests.pages import CONTRIBUTING, DOCS, PAGES, README, table
from tests.pipeline.project import ROOT
from tests.preparation.trees import raw_params

PARAMS: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")
PIPELINE: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
of_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# --- README


def test_readme_has_at_most_1500_words_and_begins_with_the_picture_and_the_two_commands() -> None:
    text = README.read_text()
    assert len(text.split()) <= 1500
    first_screen = text[: text.index("\n## ")]
    for claim in ("](docs/strip.png)", "\nmake repro ", "\nmake test ", "make repro TORCH=", "joint training"):
        assert claim in first_screen, claim


def test_readme_lists_every_page_of_docs() -> None:
    listed = [re.findall(r"\((docs/\w+\.md)\)", page)[0] for page, _ in table(README, "page")]
    assert {f"docs/{path.name}" for path in DOCS.glob("*.md")} <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_commands_of_the_experiments_stay_as_people_type_them() -> None:
    commands = README.read_text()
    for command in ("\ndvc repro ", "\ndvc exp run -S split.size=200 ", "\ndvc metrics diff;"):
        assert command in commands


def term_table() -> list[tuple[str, str, list[str]]]:
    return [(term, quoted(path)[0], quoted(names)) for term, path, names in table(README, "term")]


def test_the_term_table_has_every_term_of_the_method() -> None:
    assert {term for term, _, _ in term_table()} == {
        "domain-specific initialization",
        "differentiated cross-domain combination",
        "target-preferred alignment",
        "cross supervision",
        "ClassMix",
        "which loss goes to which branch",
    }


@pytest.mark.parametrize(("term", "path", "names"), term_table())
def test_each_term_is_the_named_function_in_the_named_file(term: str, path: str, names: list[str]) -> None:
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert names, term
    for name in names:
        assert getattr(module, name).__module__ == module.__name__, f"{name} is not defined in {path}"


def test_every_file_of_the_method_but_what_is_not_the_papers_stands_in_the_term_table() -> None:
    files = {f"dstc/method/{path.name}" for path in (ROOT / "dstc/method").glob("[!_]*.py")}
    apart = {"dstc/method/batches.py", "dstc/method/color_augmentation.py"}
    assert files - {path for _, path, _ in term_table()} == apart


# --- every page


@of_every_page
def test_the_make_commands_of_a_page_are_targets_of_the_makefile(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"{page.name} says `make {command}`"


@of_every_page
def test_the_modules_that_a_page_runs_can_be_run(page: Path) -> None:
    here = re.sub(r"git worktree add.*?```", "", page.read_text(), flags=re.DOTALL)  # what follows is another commit's
    for module in re.findall(r"python -m ((?:dstc|stages|tests|experiments|bench|docs)[\w.]*)", here):
        path = ROOT / module.replace(".", "/")
        file = next((path for path in (path.with_suffix(".py"), path / "__main__.py") if path.exists()), None)
        assert file and (file.name == "__main__.py" or "__main__" in file.read_text()), module


@of_every_page
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    inside = r"`((?:dstc|stages|tests|splits|requirements|docs|bench|experiments|presets)/[\w./]+\w)`"
    for path in re.findall(inside, page.read_text()):
        made_by_the_reader = path == "presets/own.yaml" or "NAME" in path
        assert made_by_the_reader or (ROOT / path).exists(), path


@of_every_page
def test_the_parameters_that_a_page_names_are_in_params_yaml(page: Path) -> None:
    sections = "|".join(PARAMS)
    for key in re.findall(rf"[` ]((?:{sections})\.[\w.]+?)\.?(?:[`=: ,]|$)", page.read_text(), re.MULTILINE):
        value: Any = PARAMS
        for part in key.split("."):
            assert part in value, key
            value = value[part]


@of_every_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        linked = page.parent / path if path else page
        assert linked.exists(), path
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{path}#{anchor}"


# --- the pipeline


def test_the_stages_of_the_pipelines_page_and_their_parameters_are_those_of_dvc_yaml() -> None:
    rows = table(DOCS / "pipeline.md", "stage", "does")
    assert [quoted(stage)[0] for stage, _, _ in rows] == list(PIPELINE)
    for stage, _, tracked in rows[:-1]:
        assert quoted(tracked) == PIPELINE[quoted(stage)[0]].get("params", []), stage
    shown = {key.split(".")[0] for key in PIPELINE["report"]["params"]}
    assert set(PARAMS) - shown == set(quoted(rows[-1][2]))  # "all but" these


def stages_in(text: str) -> set[str]:
    every = {name for name, stage in PIPELINE.items() if stage.get("deps")} if "every stage" in text else set()
    warm_ups = {"warm_up_source", "warm_up_target"} if "both warm-ups" in text else set()
    return {name for name in quoted(text) if name in PIPELINE} | every | warm_ups


def claimed_reruns() -> dict[str, set[str]]:
    """By package or file the stages that the page says run again; "a for b" is a claim on the file b alone."""
    claimed: dict[str, set[str]] = {}
    for changed, runs in table(DOCS / "pipeline.md", "changed code"):
        whole, *parts = runs.split(";")
        claimed |= {path: stages_in(whole) for path in quoted(changed) if (ROOT / path).exists()}
        for part in parts:
            stages, _, file = part.partition(" for ")
            claimed[quoted(file)[0]] = stages_in(stages)
    return claimed


def test_the_page_says_of_all_code_what_dvc_yaml_reruns() -> None:
    claimed = claimed_reruns()
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "dstc").glob("[!_]*") if path.suffix in ("", ".py")}
    assert code <= set(claimed)
    for path, stages in claimed.items():
        assert stages == {name for name, stage in PIPELINE.items() if path in stage.get("deps", [])}, path
    deps = {dep for stage in PIPELINE.values() for dep in stage.get("deps", [])}
    assert {dep for dep in deps if not dep.startswith(("stages/", "data/", "metrics"))} <= set(claimed)


def test_the_layers_that_contributing_shows_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    shown = [
        {path.removesuffix("/").removesuffix(".py").replace("/", ".") for path in quoted(row)}
        for row, _ in table(CONTRIBUTING, "layer")
    ]
    assert shown == [set(layer.split(" | ")) for layer in layers]


# --- what can be copied from a page


def test_the_entry_that_contributing_shows_is_all_that_a_backbone_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r'^"(resnet152)": (Backbone\(.+\)),$', CONTRIBUTING.read_text(), re.MULTILINE)
    assert shown
    entry = eval(shown[2], {"Backbone": Backbone})
    for module in (model_rules, backbones):
        monkeypatch.setattr(module, "BACKBONES", {**BACKBONES, shown[1]: entry})
    model = {"backbone": "resnet152", "initial_weights": "imagenet", "stride_on": "second_conv"}
    params.check_params(raw_params(model=model), "params.yaml")
    with torch.device("meta"):
        own = build_backbone("resnet152", stride_on="second_conv", output_stride=16)
        names = [name for name in resnet152().state_dict() if not name.startswith("fc.")]
    assert list(own.state_dict()) == names


def test_the_backbones_that_a_page_lists_are_those_there_are() -> None:
    text = (DOCS / "data_sets.md").read_text()
    assert set(BACKBONES) <= set(quoted(text[text.index("## Backbones") :]))


def test_the_classes_that_a_page_shows_are_accepted() -> None:
    (shown,) = re.findall(r"^```yaml\n(.+?)^```", (DOCS / "data_sets.md").read_text(), re.MULTILINE | re.DOTALL)
    raw = raw_params(paths={"source": "/data/rendered", "target": "/data/photos"})
    raw["data"] |= YAML(typ="safe").load(shown)["data"]
    data = params.check_params(raw, "params.yaml").data
    classes = task_classes(data.classes, data.own.class_names, data.own.colors or {})
    rules = label_rules(data.target.layout, classes, data.own.labels or {}, data.own.ignored)
    assert rules.ids == {7: 0, 8: 0, 26: 1, 24: 2, 0: 255, 255: 255}
