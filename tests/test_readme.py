"""What README and the pages under docs/ claim about the tree is true."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from torchvision.models import resnet152

from dstc.config import params
from dstc.models import deeplab_v2
from dstc.models.backbones import BACKBONES, Backbone
from dstc.preparation.label_rules import label_rules, task_classes
from tests.preparation.trees import raw_params

README = Path(__file__).parent.parent / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]
ROW = re.compile(r"^\| ([^|]+) \| `(dstc/method/\w+\.py)` \| (.+) \|$", re.MULTILINE)


def term_table() -> list[tuple[str, str, list[str]]]:
    return [(term, path, re.findall(r"`(\w+)`", names)) for term, path, names in ROW.findall(README.read_text())]


def test_the_term_table_has_every_term_of_the_method() -> None:
    terms = {term for term, _, _ in term_table()}
    assert terms >= {
        "domain-specific initialization",
        "differentiated cross-domain combination",
        "target-preferred alignment",
        "cross supervision",
        "ClassMix",
    }


@pytest.mark.parametrize(("term", "path", "names"), term_table())
def test_each_term_is_the_named_function_in_the_named_file(term: str, path: str, names: list[str]) -> None:
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert names, term
    for name in names:
        assert getattr(module, name).__module__ == module.__name__, f"{name} is not defined in {path}"


def test_every_file_of_the_method_but_its_plumbing_stands_in_the_term_table() -> None:
    files = {f"dstc/method/{path.name}" for path in (README.parent / "dstc/method").glob("[!_]*.py")}
    assert files - {path for _, path, _ in term_table()} == {
        f"dstc/method/{name}.py" for name in ("batches", "class_weights", "cross_entropy", "division")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_make_commands_of_a_page_are_targets_of_the_makefile(page: Path) -> None:
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"{page.name} says `make {command}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`((?:dstc|stages|tests|splits|requirements|docs|bench)/[\w./]+\w)`", page.read_text()):
        assert (README.parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        linked = page.parent / path if path else page
        assert linked.exists(), path
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{path}#{anchor}"


def test_the_entry_that_readme_shows_is_all_that_a_backbone_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r'^"(resnet152)": (Backbone\(.+\)),$', README.read_text(), re.MULTILINE)
    assert shown
    entry = eval(shown[2], {"Backbone": Backbone})
    for module in (params, deeplab_v2):
        monkeypatch.setattr(module, "BACKBONES", {**BACKBONES, shown[1]: entry})
    model = {"backbone": "resnet152", "initial_weights": "imagenet", "stride_on": "second_conv"}
    params.check_params(raw_params(model=model), "params.yaml")
    with torch.device("meta"):
        own = deeplab_v2.build_backbone("resnet152", stride_on="second_conv", output_stride=16)
        names = [name for name in resnet152().state_dict() if not name.startswith("fc.")]
    assert list(own.state_dict()) == names


def test_the_classes_that_readme_shows_are_accepted() -> None:
    (shown,) = re.findall(r"^```yaml\n(.+?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    raw = raw_params(paths={"source": "/data/rendered", "target": "/data/photos"})
    raw["data"] |= YAML(typ="safe").load(shown)["data"]
    data = params.check_params(raw, "params.yaml").data
    classes = task_classes(data.classes, data.own.class_names, data.own.colors or {})
    rules = label_rules(data.target.layout, classes, data.own.labels or {}, data.own.ignored)
    assert rules.ids == {7: 0, 8: 0, 26: 1, 24: 2, 0: 255, 255: 255}
