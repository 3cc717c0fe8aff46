"""The schema checks params.yaml and adds nothing to it: no default, no value changed, nothing computed.

That is what makes it safe that no stage in dvc.yaml and no manifest of an interrupted training depends on dstc/config:
all that a stage gets from there are values of params.yaml, which dvc.yaml tracks and the manifest holds. If a test here
must give way, dstc/config has to become a dependency of both first (dvc.yaml; `_code` in dstc/training/working_folder.py).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from dstc.config import params, sections
from dstc.config.params import Params, check_params
from dstc.config.sections import Section
from tests.pipeline.project import ROOT, STAGES
from tests.pipeline.test_dvc_yaml import imported_by
from tests.preparation.trees import raw_params
from tests.test_presets import NAMES, merged


def sections_below(parent: type[Section]) -> Iterator[type[Section]]:
    for section in parent.__subclasses__():
        yield section
        yield from sections_below(section)


SECTIONS = sorted(set(sections_below(Section)), key=lambda section: section.__name__)


def typed(value: Any) -> Any:
    """With the type of each value, since 1 == True; whole numbers where a rate belongs are written as YAML pleases."""
    if isinstance(value, dict):
        return {key: typed(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [typed(inside) for inside in value]
    return ("number" if type(value) in (int, float) else type(value).__name__, value)


def assert_kept(raw: dict[str, Any]) -> None:
    assert typed(check_params(raw, "params.yaml").model_dump()) == typed(raw)


def test_all_sections_are_seen() -> None:
    assert Params in SECTIONS
    assert {section.__name__ for section in SECTIONS} >= {"Data", "World", "WarmUp", "Batch", "CoTrain", "Runtime"}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_no_field_has_a_default_or_another_name(section: type[Section]) -> None:
    assert section.model_fields or section is Section
    for name, field in section.model_fields.items():
        assert field.is_required(), name
        assert (field.alias, field.validation_alias, field.serialization_alias) == (None, None, None), name


@pytest.mark.parametrize("section", [Section, *SECTIONS], ids=lambda section: section.__name__)
def test_sections_are_strict_and_have_nothing_but_fields_and_validators(section: type[Section]) -> None:
    assert section.model_config == {"extra": "forbid", "strict": True, "frozen": True}
    validators = section.__pydantic_decorators__
    allowed = {*validators.model_validators, *validators.field_validators, "model_config", "_abc_impl"}
    assert [name for name in vars(section) if not name.startswith("__") and name not in allowed] == []
    assert "__init__" not in vars(section)
    assert "__getattr__" not in vars(section)


def test_no_value_of_params_yaml_is_changed() -> None:
    assert_kept(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_a_preset_is_changed(name: str) -> None:
    assert_kept(merged(name))


def test_no_unusual_value_is_changed() -> None:
    paths = {"source": "/A  b/../C/ ", "target": "/data//target/", "unlabeled": ["/b", "/a", "/c"]}
    own = {"own.labels": {"road": ["#FFAA00", 7], "car": [3]}, "own.ignored": [255, "#000000"]}
    evaluate = {"scales": [1.25, 0.5, 1], "picture_names": [" B.png", "a.png"], "window": [512, 256]}
    runtime = {"processes": 2, "cache": "/big disk/", "cache_gigabytes": 1, "checkpoint_every_minutes": 1e-3}
    assert_kept(raw_params(paths=paths, data=own, evaluate=evaluate, split={"file": "Own list.TXT"}, runtime=runtime))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_takes_nothing_but_sections_from_the_schema(stage: str) -> None:
    """Neither a constant nor a function that decides something."""
    taken = {
        alias.name
        for file in imported_by(stage)
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dstc.config")
        for alias in node.names
    }
    assert "read_params" in taken
    found = {name: getattr(params, name, getattr(sections, name, None)) for name in taken - {"read_params"}}
    assert [name for name, one in found.items() if not (isinstance(one, type) and issubclass(one, Section))] == []
