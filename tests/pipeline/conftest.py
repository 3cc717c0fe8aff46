"""The pipeline is run once for all workers of pytest; each test works on its own copy of what came of it, cache included."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.pipeline.project import Project, Reply, small_project


@dataclass(frozen=True)
class Run:
    project: Project
    first: Reply
    second: Reply


@dataclass(frozen=True)
class Change:
    project: Project
    reply: Reply


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], list[Reply]]
) -> tuple[Path, list[Reply]]:
    """A folder that the first worker to ask fills with `make` while the others wait, and what dvc replied."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    replies = folder / "replies.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not replies.exists():
            replies.write_text(json.dumps([asdict(reply) for reply in make(folder)]))
        return folder, [Reply(**reply) for reply in json.loads(replies.read_text())]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`dvc repro` twice in a fresh copy of the project, then everything committed. Do not change it, copy it."""

    def make(folder: Path) -> list[Reply]:
        (folder / "project").mkdir()
        project = small_project(folder / "project")
        replies = [project.dvc("repro"), project.dvc("repro")]
        project.commit("the run")
        return replies

    folder, replies = made_once(tmp_path_factory, "run", make)
    return Run(Project(folder / "project"), *replies)


@pytest.fixture
def project(run: Run, tmp_path: Path) -> Iterator[Project]:
    """A copy of the project as it is after `dvc repro` and a commit."""
    yield run.project.copy(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)  # 40 MB; pytest would keep those of three sessions


@pytest.fixture(scope="session")
def six_labeled(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """The main use: `dvc exp run -S split.size=6` where 4 images were labeled. Do not change it, copy it."""

    def make(folder: Path) -> list[Reply]:
        return [run.project.copy(folder).dvc("exp", "run", "-n", "six", "-S", "split.size=6")]

    folder, (reply,) = made_once(tmp_path_factory, "six_labeled", make)
    return Change(Project(folder / "project"), reply)


@pytest.fixture
def project_at_six(six_labeled: Change, tmp_path: Path) -> Iterator[Project]:
    """A copy of the project after that experiment, which is in its workspace and in its list of experiments."""
    yield six_labeled.project.copy(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)
