"""dvc.yaml cannot lie: each stage names exactly what it imports and reads, and nothing defeats DVC's caches."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dstc.core import places
from tests.pipeline.project import ALWAYS_RUN, ROOT, STAGES, files_of_the_project

PIPELINE: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
PARAMS: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")
CODE = ("dstc", "stages")
SCHEMA = Path("dstc/config")  # no stage's dep: its values are tracked under `params` (tests/config/test_schema.py)
LAST = ("evaluate", "report")  # and cheap: they run again wherever DVC would restore a training
TRAININGS = ("warm_up_source", "warm_up_target", "joint", "co_train")
WATCHED = [name for name in STAGES if name != ALWAYS_RUN]  # by DVC: they run where a dep or a parameter has changed
UNTRACKED_ON_PURPOSE = ("runtime",)  # changes nothing that is learnt


def stage(name: str) -> dict[str, Any]:
    return PIPELINE["stages"][name]


def deps_of(name: str) -> list[str]:
    return stage(name).get("deps", [])


def script_of(name: str) -> Path:
    return Path(*stage(name)["cmd"].split()[3].split(".")).with_suffix(".py")


def outputs_of(name: str) -> dict[str, dict[str, Any]]:
    """Path: options, for outs and metrics alike."""
    listed = [*stage(name).get("outs", []), *stage(name).get("metrics", []), *stage(name).get("plots", [])]
    return {out: {} for out in listed if isinstance(out, str)} | {
        path: options or {} for out in listed if isinstance(out, dict) for path, options in out.items()
    }


# --- code


@cache
def imports_of(file: Path) -> frozenset[Path]:
    """The project's files that a file imports, anywhere in it; relative to the root."""

    def as_file(module: str) -> Path | None:
        path = Path(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if (ROOT / file).is_file()), None)

    def modules() -> Iterator[Path | None]:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Import):
                yield from (as_file(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports relatively; name the module in full"
                for alias in node.names:
                    yield as_file(f"{node.module}.{alias.name}") or as_file(str(node.module))

    return frozenset(found for found in modules() if found and found.parts[0] in CODE)


def imported_by(name: str) -> set[Path]:
    """Every file that a stage's script imports, transitively, the script included; packages' empty inits left out."""
    seen, pending = set(), [script_of(name)]
    while pending:
        file = pending.pop()
        if file not in seen and SCHEMA not in file.parents:
            seen.add(file)
            pending.extend(imports_of(file))
    return {file for file in seen if file.name != "__init__.py"}


def code_deps(name: str) -> list[Path]:
    return [Path(dep) for dep in deps_of(name) if Path(dep).parts[0] in CODE]


@pytest.mark.parametrize("name", WATCHED)
def test_every_module_that_a_stage_imports_is_among_its_deps(name: str) -> None:
    deps = code_deps(name)
    undeclared = [str(f) for f in imported_by(name) if not any(f == dep or dep in f.parents for dep in deps)]
    assert sorted(undeclared) == []


@pytest.mark.parametrize("name", STAGES)
def test_every_code_dep_of_a_stage_exists_and_is_imported(name: str) -> None:
    imported = imported_by(name)
    superfluous = [str(dep) for dep in code_deps(name) if not any(f == dep or dep in f.parents for f in imported)]
    assert superfluous == []


@pytest.mark.parametrize("name", STAGES)
def test_no_dep_is_a_whole_package_or_named_twice(name: str) -> None:
    deps = deps_of(name)
    assert not set(CODE) & {dep.rstrip("/") for dep in deps}
    assert len(deps) == len(set(deps))
    assert [dep for dep in deps if any(Path(other) in Path(dep).parents for other in deps)] == []


def test_one_stage_always_runs_and_prepare_data_alone_depends_on_its_listing() -> None:
    """It cannot be stale, so it has no deps or parameters. What depended on it would rerun where a file's time changed; of
    initial weights it tells the content."""
    assert [name for name in STAGES if stage(name).get("always_changed")] == [ALWAYS_RUN]
    assert deps_of(ALWAYS_RUN) == tracked(ALWAYS_RUN) == []
    users = {out: [name for name in STAGES if out in deps_of(name)] for out in outputs_of(ALWAYS_RUN)}
    assert users == {
        "data/listing.txt": ["prepare_data"],
        "data/initial_weights.txt": ["warm_up_source", "warm_up_target", "joint"],
    }


def test_every_init_is_empty_but_the_one_that_has_threads_sleep() -> None:
    """No stage depends on them; how threads wait changes no result."""
    inits = [name for name in files_of_the_project() if Path(name).name == "__init__.py"]
    assert len(inits) > 5
    assert [name for name in inits if (ROOT / name).read_text()] == ["dstc/__init__.py"]


def test_stages_are_run_as_modules_in_the_place_of_their_shell() -> None:
    """`python stages/x.py` would import the main work tree's package in temporary copies; and a shell that stays between
    dvc and a training hides that dvc is gone."""
    assert tuple(PIPELINE["stages"]) == STAGES
    for name in STAGES:
        assert re.fullmatch(r"exec python -m stages\.\w+( source| target)?", stage(name)["cmd"])
        assert (ROOT / script_of(name)).is_file()
        assert stage(name)["desc"]


def test_every_stage_script_is_run_by_dvc_yaml() -> None:
    scripts = {Path("stages") / path.name for path in (ROOT / "stages").glob("*.py")}
    run = {script_of(name) for name in STAGES}
    assert scripts - run == {Path("stages/__init__.py")}


# --- parameters


def keys_within(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield str(key)
            yield from keys_within(part)


def value_at(dotted: str) -> Any:
    value = PARAMS
    for part in dotted.split("."):
        value = value[part]
    return value


def leaves(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix


def tracked(name: str) -> list[str]:
    return list(stage(name).get("params", []))


def covered(dotted: str, by: list[str]) -> bool:
    return any(dotted == key or dotted.startswith(f"{key}.") for key in by)


@pytest.mark.parametrize("name", STAGES)
def test_no_tracked_mapping_holds_a_key_that_the_run_cache_drops(name: str) -> None:
    """A mapping with a key `size` or `nfiles` is invisible to the run cache: a wrong result without a warning."""
    dropped = [key for key in tracked(name) if {"size", "nfiles"} & set(keys_within(value_at(key)))]
    assert dropped == []


def test_the_split_is_tracked_key_by_key() -> None:
    assert sorted(tracked("make_split")) == sorted(f"split.{key}" for key in PARAMS["split"])


def test_every_parameter_is_tracked_by_some_stage_except_runtime() -> None:
    by = [key for name in STAGES for key in tracked(name)]
    untracked = [leaf for leaf in leaves(PARAMS) if not covered(leaf, by)]
    assert {leaf.split(".")[0] for leaf in untracked} == set(UNTRACKED_ON_PURPOSE)


def test_paths_are_tracked_by_prepare_data_alone_and_runtime_by_none() -> None:
    for name in STAGES:
        assert ("paths" in tracked(name)) == (name == "prepare_data")
        assert not any(key.split(".")[0] == "runtime" for key in tracked(name))


@pytest.mark.parametrize("name", WATCHED)
def test_every_parameter_that_a_script_reads_is_tracked(name: str) -> None:
    """By the attributes of what the scripts call `params`. The indexes stand for `paths`."""
    sections = "|".join(PARAMS)
    read = re.findall(
        rf"\b(?:params|read_params\(\))\.((?:{sections})\b(?:\.\w+)?)", (ROOT / script_of(name)).read_text()
    )
    by = [key for other in STAGES if script_of(other) == script_of(name) for key in tracked(other)]
    by += ["runtime"] if name == "prepare_data" else ["runtime", "paths"]
    part_of_it = [key for key in read if any(part.startswith(f"{key}.") for part in by)]
    assert [key for key in read if not covered(key, by) and key not in part_of_it] == []


# --- outputs


@pytest.mark.parametrize("name", STAGES)
def test_nothing_persists_and_only_the_last_stages_have_uncached_outputs(name: str) -> None:
    """Either would switch the run cache off; persisted outputs leak from one run into the next, too."""
    for path, options in outputs_of(name).items():
        assert not options.get("persist"), path
        assert options.get("cache", True) or name in LAST, path


def test_git_gets_the_small_files_of_metrics_and_dvcs_cache_the_pictures() -> None:
    outputs = outputs_of("evaluate")
    cached = [path for path, options in outputs.items() if options.get("cache", True)]
    assert cached == ["metrics/pictures"]
    assert all(Path(path).suffix in (".json", ".csv") for path in outputs if path not in cached)


def test_places_and_dvc_yaml_name_the_same_outputs() -> None:
    outputs = [Path(path) for name in STAGES for path in outputs_of(name)]
    named = [value for value in vars(places).values() if isinstance(value, Path)]
    assert len(named) >= 8
    for place in named:
        assert any(place == out or place in out.parents for out in outputs), f"no stage makes {place}"
    for out in outputs:
        assert any(place == out or place in out.parents for place in named), f"places.py does not know {out}"
    for folder in (places.WARM_UP_SOURCE, places.WARM_UP_TARGET, places.JOINT):
        assert folder / places.NETWORK in outputs


def test_every_stage_but_the_report_has_files_by_which_its_cost_is_found_and_the_report_depends_on_them() -> None:
    assert set(places.MADE_BY) == set(WATCHED) - {"report"}
    seen = [Path(dep) for dep in deps_of("report")]
    for name, files in places.MADE_BY.items():
        made = [Path(path) for path in outputs_of(name)]
        for file in files:
            assert any(file == out or out in file.parents for out in made), file
            assert any(file == dep or dep in file.parents for dep in seen), file


def test_the_report_shows_every_section_of_params_yaml_that_decides_a_result() -> None:
    unseen = [leaf for leaf in leaves(PARAMS) if not covered(leaf, tracked("report"))]
    assert {leaf.split(".")[0] for leaf in unseen} == {"paths", "runtime"}


def test_every_dep_under_data_is_made_by_an_earlier_stage() -> None:
    made: set[str] = set()
    for name in STAGES:
        assert [dep for dep in deps_of(name) if dep.startswith(("data", "metrics")) and dep not in made] == []
        made |= set(outputs_of(name))


def test_what_every_plot_draws_is_an_output_of_evaluate() -> None:
    known = outputs_of("evaluate")
    for plot in PIPELINE["plots"]:
        settings = next(iter(plot.values())) if isinstance(plot, dict) else {"y": {plot: ""}}
        files = [file for axis in ("x", "y") for file in (settings.get(axis) if axis in settings else {})]
        assert [
            file for file in files if isinstance(settings.get("y"), dict) and "/" in file and file not in known
        ] == []
        template = settings.get("template", "linear")
        builtin = ("linear", "simple", "scatter", "smooth", "bar_horizontal", "bar_horizontal_sorted")
        assert template in builtin or (ROOT / f".dvc/plots/{template}.json").is_file()


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_see_images_through_indexes_only(name: str) -> None:
    assert [dep for dep in deps_of(name) if dep.startswith("data/world")] == []


# --- around it


def test_pythons_caches_are_no_inputs() -> None:
    lines = (ROOT / ".dvcignore").read_text().splitlines()
    assert {"__pycache__/", "*.pyc"} <= set(lines)


def test_dvc_reports_no_usage() -> None:
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"^\s+", "", (ROOT / ".dvc/config").read_text(), flags=re.MULTILINE))
    assert config["core"]["analytics"] == "false"
