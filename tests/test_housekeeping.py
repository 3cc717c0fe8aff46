"""What people expect around the code: it is there, and what it names exists."""

import ast
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.project import ROOT, files_of_the_project

CODE = [path for folder in ("dstc", "stages") for path in sorted((ROOT / folder).rglob("*.py"))]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in CODE
    if 'if __name__ == "__main__"' in path.read_text()
]
HOOKS = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"]
JOBS = YAML(typ="safe").load(ROOT / ".github/workflows/checks.yml")["jobs"]


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_answers_help_with_its_name_and_purpose(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)  # it may have been imported, and is run anew
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert shown.startswith(f"usage: python -m {module} ")
    assert len(shown.splitlines()) > 4


def test_all_stages_are_among_the_commands_that_were_asked_for_help() -> None:
    stages = ("list_data", "prepare_data", "make_split", "warm_up", "joint", "co_train", "evaluate", "report")
    assert {f"stages.{stage}" for stage in stages} < set(COMMANDS)


def test_ci_and_hooks_call_targets_of_the_makefile_and_nothing_else() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    run = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    run += [hook["entry"] for repository in HOOKS for hook in repository["hooks"]]
    assert {"make lint", "make test"} <= set(run)
    assert {command.removeprefix("make ") for command in run} <= targets
    assert {repository["repo"] for repository in HOOKS} == {"local"}


def test_ci_begins_with_the_oldest_python_that_is_promised() -> None:
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert promised == f">={JOBS['checks']['strategy']['matrix']['python'][0]}"


def test_the_citation_names_the_paper_as_readme_does() -> None:
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    paper = citation["preferred-citation"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    authors = ", ".join(author["family-names"] for author in paper["authors"])
    assert f"*{paper['title']}*, {authors}, ICME {paper['year']}" in readme
    assert citation["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


def test_the_files_that_contributing_names_exist() -> None:
    named = re.findall(r"`((?:dstc|stages|tests|presets|docs|\.ci)/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_names_in_code_that_contributing_tells_to_extend_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = "\n".join(path.read_text() for path in [*CODE, ROOT / "tests/pipeline/project.py"])
    named = re.findall(r"`(_?[A-Z][A-Z_]{4,})`", text)
    assert len(named) >= 6
    assert [
        name for name in named if not re.search(rf"^{name}\b", code, re.MULTILINE) and not (ROOT / name).exists()
    ] == []


def silent(path: Path) -> list[str]:
    """Public functions and classes without a docstring."""
    nodes = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return [node.name for node in nodes if not node.name.startswith("_") and not ast.get_docstring(node)]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_tells_what_it_is_for(path: Path) -> None:
    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(path.read_text()))


def test_every_public_function_and_class_of_the_core_tells_what_it_does() -> None:
    """But for drawings, which are named after what they draw, and sections, which params.yaml explains line by line."""
    apart = (ROOT / "stages", ROOT / "dstc/world", ROOT / "dstc/config/sections.py")
    core = [path for path in CODE if not any(path.is_relative_to(other) for other in apart)]
    assert len(core) > 40
    found = {str(path.relative_to(ROOT)): sorted(set(silent(path)) - {"main"}) for path in core}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_function_is_longer_than_fifty_lines() -> None:
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}: {node.name}")
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 400
    assert [found for found in functions if found[0] > 50] == []


def test_one_module_alone_names_the_gpus() -> None:
    naming = [str(path.relative_to(ROOT)) for path in CODE if "cuda" in path.read_text()]
    assert naming == ["dstc/core/device.py"]


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    hosts = [r"pypi\.org", r"pythonhosted\.org", r"npmjs\.org", r"conda\.anaconda", r"download\.pytorch"]
    homes = r"(?<![\w.~/])/(?:home|Users|root|work)/\w"
    here = rf"{re.escape(str(ROOT))}\b|{re.escape(str(Path.home()))}/"
    forbidden = re.compile("|".join([*hosts, homes, here]))
    found = [
        f"{name}: {match[0]}"
        for name in files_of_the_project()
        if (match := forbidden.search((ROOT / name).read_bytes().decode(errors="ignore")))
    ]
    assert found == []
