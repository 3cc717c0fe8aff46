"""A project of a few tiny images whose stages run in this process, and what must hold when one of them refuses."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.pipeline.project import SCHEDULE, edit_params
from tests.preparation import trees

TRAIN_IMAGES, LABELED = 4, 2
SCRIPTS = [
    ("prepare_data",),
    ("make_split",),
    ("warm_up", "source"),
    ("warm_up", "target"),
    ("joint",),
    ("co_train",),
    ("evaluate",),
    ("report",),
]
TRAININGS = SCRIPTS[2:6]
NOBODY = 65534


def name_of(script: tuple[str, ...]) -> str:
    return "_".join(script)


def run_stage(script: str, *arguments: str) -> None:
    """Run a stage as `python -m stages.x ...` would, in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        importlib.import_module(f"stages.{script}").main()


@pytest.fixture
def stage() -> Callable[..., None]:
    return run_stage


@pytest.fixture(scope="session")
def warmed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it is when co_train begins."""
    root = tmp_path_factory.mktemp("errors")
    trees.gta5(root / "gta5", size=(48, 32))
    trees.cityscapes(root / "cityscapes", train=TRAIN_IMAGES)
    paths = {"source": str(root / "gta5"), "target": str(root / "cityscapes")}
    YAML().dump(trees.raw_params(paths=paths), root / "params.yaml")
    edit_params(
        root / "params.yaml",
        {
            "split": {"size": LABELED},
            "warm_up.source": SCHEDULE,
            "warm_up.target": SCHEDULE,
            "joint": SCHEDULE,
            "co_train": {**SCHEDULE, "pictures_every": 2, "cross_supervision_start": 0.0},
            "runtime": {"device": "cpu", "threads": 1},
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for script in SCRIPTS[:5]:
            run_stage(*script)
    return root


@pytest.fixture
def project(warmed_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, entered. The images stay where they are."""
    shutil.copytree(warmed_up / "data", tmp_path / "data")
    shutil.copy(warmed_up / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refusal(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a stage that must stop; give its message, having checked that no file came or went."""

    def run(*script: str) -> str:
        before = contents(project)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_stage(*script)
        assert ended.value.code == 1
        assert contents(project) == before
        message = capsys.readouterr().err
        assert "Traceback" not in message
        lines = [line for line in message.splitlines() if line.startswith("error: ")]
        assert lines
        return "\n".join(lines)

    return run


@pytest.fixture
def unprivileged(warmed_up: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project in a folder of nobody's, entered, with nobody's rights: root may read and write anywhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        shutil.copytree(warmed_up, root, dirs_exist_ok=True)
        edit_params(root / "params.yaml", {"paths": {"source": str(root / "gta5"), "target": str(root / "cityscapes")}})
        if os.geteuid() != 0:
            monkeypatch.chdir(root)
            yield root
            return
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            if not os.access(trees.PROJECT, os.R_OK | os.X_OK, effective_ids=True):
                pytest.skip("without root's rights this project's files cannot be read here")
            monkeypatch.chdir(root)
            yield root
        finally:
            os.seteuid(0)
            os.setegid(0)
            for path in (root, *root.rglob("*")):
                path.chmod(0o755)


def contents(project: Path) -> dict[str, bytes]:
    """Every file of a project, apart from what failed steps left for their examination."""
    readable = (path for path in project.rglob("*") if path.is_file() and os.access(path, os.R_OK))
    files = (path for path in readable if project / ".work/cache" not in path.parents)  # of decoded images, ever whole
    names = {path.relative_to(project).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".work/failures/")}


def set_params(**sections: dict[str, Any]) -> None:
    edit_params(Path("params.yaml"), {section.replace("__", "."): values for section, values in sections.items()})
