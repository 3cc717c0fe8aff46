"""Odd places: what docs/troubleshooting.md quotes is what DVC says there, its remedies help, and make helps itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.project import ROOT, Project, Reply, files_of_the_project, small_project

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
REMEDIES = dict(re.findall(r"^## `(.+)`$(?:(?!^## ).*\n)*?```\n(.+)\n```$", PAGE, re.MULTILINE))
TEMP = ("dvc", "exp", "run", "--temp", "list_data")


@dataclass(frozen=True)
class Nobody(Project):
    """A project whose user has no identity in git and no home."""

    @property
    def env(self) -> dict[str, str]:
        return {key: value for key, value in super().env.items() if not key.startswith("GIT_")} | {
            "HOME": str(self.root.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
        }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Nothing of it has run."""
    (tmp_path / "project").mkdir()
    return small_project(tmp_path / "project")


def unpacked(project: Project) -> Project:
    shutil.rmtree(project.root / ".git")
    return project


def without_identity(project: Project) -> Project:
    project.edit_params({"evaluate": {"pictures": 3}})  # as after a repro, git has something to put aside
    return Nobody(project.root)


def in_a_folder_with_an_umlaut(project: Project) -> Project:
    return Project(project.root.rename(project.root.with_name("Größe")))


def with_a_torn_lock(project: Project) -> Project:
    (project.root / ".dvc/tmp").mkdir(exist_ok=True)
    (project.root / ".dvc/tmp/rwlock").write_text('{"/da')
    return project


@pytest.mark.parametrize(
    ("place", "command", "symptom"),
    [
        (unpacked, ("dvc", "repro", "list_data"), "is not a git repository"),
        (without_identity, TEMP, "Git user name and email must be configured"),
        (in_a_folder_with_an_umlaut, TEMP, "'ascii' codec can't encode characters in position"),
        (with_a_torn_lock, ("dvc", "repro", "list_data"), "Unable to read RWLock-file"),
    ],
)
def test_the_page_quotes_what_dvc_says_and_its_remedy_helps(
    project: Project, place: Callable[[Project], Project], command: tuple[str, ...], symptom: str
) -> None:
    (quoted,) = [title for title in REMEDIES if symptom in title]
    project.dvc("repro", "list_data")
    project.commit("a listing")
    project = place(project)
    said = project.call(*command)
    assert said.code != 0
    assert re.search(re.escape(quoted).replace("/path/to/dstc", ".*").replace(r"\.\.\.", ".*"), said.text), said.text
    remedy = REMEDIES[quoted].replace("/plain/path", str(project.root.parent))
    project.ok("bash", "-e", "-c", remedy)
    project.ok(*command)


def make(root: Path, target: str, *arguments: str) -> Reply:
    """Of the project's Makefile, in an environment that holds nothing but PATH; with no environment of Python to build."""
    return Nobody(root).call("env", "-i", f"PATH={Nobody(root).env['PATH']}", "make", "-s", *arguments, target)


def test_make_turns_an_unpacked_zip_into_a_repository_in_which_dvc_works(project: Project) -> None:
    zipped = Nobody(unpacked(project).root)
    assert "no git repository here: making one" in make(zipped.root, ".git").text
    assert zipped.ok("git", "status", "--short").text == ""
    assert make(zipped.root, ".git").text == ""
    assert zipped.ok("git", "log", "--format=%s").text == "The project as it was unpacked\n"
    zipped.dvc("repro", "list_data")


def test_make_leaves_a_repository_around_the_project_alone(project: Project, tmp_path: Path) -> None:
    inner = unpacked(project)
    inner.ok("git", "init", "-q", str(tmp_path))
    assert make(inner.root, ".git").text == ""
    assert not (inner.root / ".git").exists()
    inner.dvc("repro", "list_data")


def test_make_gives_a_user_id_without_a_name_one(tmp_path: Path) -> None:
    shutil.copy2(ROOT / "Makefile", tmp_path)
    shown = make(tmp_path, "shown", "--eval", "shown: ; @echo $$USER").text.split()
    assert shown == [subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip()]


def test_a_clone_has_line_feeds_whatever_git_is_told(project: Project, tmp_path: Path) -> None:
    where = str(tmp_path / "clone")
    project.ok("git", "clone", "-q", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", str(project.root), where)
    files = [Path(where) / name for name in files_of_the_project() if (Path(where) / name).is_file()]
    assert {Path(where) / name for name in (".ci/run", "Makefile", "dvc.yaml", "stages/list_data.py")} <= set(files)
    assert [file for file in files if file.suffix != ".png" and b"\r\n" in file.read_bytes()] == []
