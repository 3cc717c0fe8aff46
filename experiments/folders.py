"""Working folders for measurements: the pipeline's stages run in a folder of their own, outside DVC, one thread each.

DVC is left out because a sweep over worlds, seeds and variants here is one long computation with rows as its result; the
stages, the parameters and the code are those of the pipeline.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).parent.parent
WORK = PROJECT / ".work" / "experiments"


def folder_with_params(name: str, changes: Mapping[str, Any]) -> Path:
    """A folder holding the project's params.yaml with changes by dotted key, `splits` and nothing else of the project."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(PROJECT / "params.yaml")
    for key, value in {"runtime.workers": 0, "runtime.threads": 1, **changes}.items():
        section, *path = key.split(".")
        target, last = params, section
        for part in path:
            target, last = target[last], part
        if last not in target:
            raise KeyError(f"params.yaml has no {key}")
        target[last] = value
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    if not (folder / "splits").exists():
        (folder / "splits").symlink_to(PROJECT / "splits")
    return folder


def borrow(folder: Path, lender: Path, names: tuple[str, ...]) -> None:
    """Use another folder's outputs below data/ instead of making them again."""
    (folder / "data").mkdir(exist_ok=True)
    for name in names:
        link = folder / "data" / name
        if not link.is_symlink():
            link.symlink_to(lender / "data" / name)


def run(folder: Path, module: str, *arguments: str) -> None:
    """`python -m module arguments` in the folder, its output appended to log.txt there."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=folder, env=environment, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{module} failed in {folder}; see log.txt there")


def run_once(folder: Path, output: str, module: str, *arguments: str) -> None:
    """As `run`, unless its output is there already."""
    if not (folder / output).exists():
        run(folder, module, *arguments)


def co_trained(folder: Path) -> dict[str, float]:
    """Co-train and evaluate in a folder that holds both warm-ups; the mIoU of every network, percent, half protocol."""
    run(folder, "stages.co_train")
    run(folder, "stages.evaluate")
    scores: dict[str, float] = json.loads((folder / "metrics/summary.json").read_text(encoding="utf-8"))["half"]
    return scores
