"""A copy of the project as it is on disk now, with a world and trainings of seconds, and the real `dvc` to run in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
ALWAYS_RUN = "list_data"
STAGES = (
    ALWAYS_RUN,
    "prepare_data",
    "make_split",
    "warm_up_source",
    "warm_up_target",
    "joint",
    "co_train",
    "evaluate",
    "report",
)
SCHEDULE = {"iterations": 2, "schedule_iterations": 2, "validate_every": 2, "crop": [32, 32]}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "data.world": {"source_images": 8, "train_images": 10, "val_images": 4},
    "split": {"size": 4},
    "warm_up.source": SCHEDULE,
    "warm_up.target": SCHEDULE,
    "joint": {"validate_every": 3, "crop": [32, 32]},  # of 6 iterations, as many as the others have together
    "co_train": {**SCHEDULE, "pictures_every": 1, "cross_supervision_start": 0.0},
    "evaluate": {"pictures": 1},
    "runtime": {"workers": 0, "device": "cpu", "threads": 1},
}


def files_of_the_project() -> list[str]:
    """Tracked files and untracked ones that git does not ignore, as they are on disk now."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def edit_params(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Set keys of dotted sections ("": the top level) in a parameter file, comments kept."""
    yaml = YAML()
    yaml.width = 1000
    content = yaml.load(path)
    for section, values in changes.items():
        place = content
        for part in section.split(".") if section else []:
            place = place[part]
        for key, value in values.items():
            if isinstance(value, list):
                place[key][:] = value  # in place: the file keeps its form
            else:
                place[key] = value
    yaml.dump(content, path)


@dataclass(frozen=True)
class Reply:
    code: int
    text: str

    @property
    def ran(self) -> list[str]:
        """The stages whose command was really started, but the one whose always is."""
        return [stage for stage in self.started if stage != ALWAYS_RUN]

    @property
    def started(self) -> list[str]:
        return re.findall(r"^Running stage '(.+?)'", self.text, re.MULTILINE)

    @property
    def restored(self) -> list[str]:
        """The stages whose outputs came out of the run cache."""
        return re.findall(r"^Stage '(.+?)' is cached - skipping run", self.text, re.MULTILINE)


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def env(self) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "GIT_", "PYTHON", "PYTEST"))
        }
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SHELL": "/bin/sh",  # dvc's where none is set, as in containers; often dash, which stays as python's parent
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site_cache"),  # else DVC's state database outlives the test
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
            "OMP_NUM_THREADS": "1",
        }

    def call(self, *command: str) -> Reply:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Reply(done.returncode, done.stdout)

    def ok(self, *command: str) -> Reply:
        reply = self.call(*command)
        assert reply.code == 0, f"{' '.join(command)} exits {reply.code}:\n{reply.text}"
        return reply

    def dvc(self, *arguments: str) -> Reply:
        return self.ok("dvc", *arguments)

    def edit_params(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        edit_params(self.root / "params.yaml", changes)

    def commit(self, message: str) -> None:
        self.ok("git", "add", "-A")
        self.ok("git", "commit", "-q", "-m", message)

    def copy(self, folder: Path) -> Project:
        """The same project elsewhere, caches included, with nothing shared. Locks and logs stay behind."""
        shutil.copytree(self.root, folder / "project", ignore=_dvc_tmp, symlinks=True)
        return Project(folder / "project")

    def description(self, checkpoint: str) -> dict[str, Any]:
        return torch.load(self.root / checkpoint, weights_only=True)["description"]


def _dvc_tmp(folder: str, _: list[str]) -> list[str]:
    return ["tmp"] if Path(folder).name == ".dvc" else []


def small_project(root: Path) -> Project:
    """A fresh git repository with one commit, of what lies on disk now, shrunk."""
    for name in files_of_the_project():
        if not name.startswith("tests/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    project = Project(root)
    project.edit_params(SMALL)
    for leftover in ("dvc.lock", "metrics"):  # of the committed run, whose parameters are others
        path = root / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    project.ok("git", "init", "-q", "-b", "main")
    project.commit("the project")
    return project
