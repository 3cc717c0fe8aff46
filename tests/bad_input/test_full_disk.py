"""A full disk and folders that may not be written, of every stage: the file is named, what was there before stays.

The states of trainings and the folders that they ask for first: test_interrupted_stages.py. The cache: tests/data.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dstc.core import places
from dstc.training.context import TrainingContext
from dstc.training.curves import Curve
from tests.bad_input.conftest import SCRIPTS, TRAININGS, contents, name_of, run_stage
from tests.core.test_files import file_size_limit

ROOM = 100  # bytes for a file
OTHERS = [script for script in SCRIPTS if script not in TRAININGS]
MESSAGES = {
    "prepare_data": "data/index/source.json: File too large; what was there before is as it was",
    "make_split": "data/split",
    "evaluate": "metrics/pictures/",
    "report": "metrics/report.html: File too large; what was there before is as it was",
}


@pytest.fixture(scope="module")
def evaluated(warmed_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run."""
    root = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(warmed_up / "data", root / "data")
    shutil.copy(warmed_up / "params.yaml", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for script in SCRIPTS[5:]:
            run_stage(*script)
    return root


def stopped(capsys: pytest.CaptureFixture[str], *script: str) -> str:
    """What a stage says that must stop."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_stage(*script)
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize("script", OTHERS, ids=name_of)
def test_on_a_full_disk_a_stage_names_the_file_and_changes_nothing(
    evaluated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: tuple[str, ...],
) -> None:
    root = tmp_path / "project"
    shutil.copytree(evaluated, root)
    monkeypatch.chdir(root)
    before = contents(root)
    with file_size_limit(ROOM):
        shown = stopped(capsys, *script)
    assert MESSAGES[name_of(script)] in shown
    assert "File too large" in shown
    assert contents(root) == before
    run_stage(*script)
    kept = {name: content for name, content in contents(root).items() if not name.startswith(".work/")}
    assert kept == {name: content for name, content in before.items() if not name.startswith(".work/")}


WITHOUT_PERMISSION = {
    ("evaluate",): "error: metrics/pictures: Permission denied",
    ("report",): "error: metrics/report.html: Permission denied",
}


@pytest.mark.parametrize("script", WITHOUT_PERMISSION, ids=name_of)
def test_metrics_that_may_not_be_written_are_named(
    unprivileged: Path, capsys: pytest.CaptureFixture[str], script: tuple[str, ...]
) -> None:
    for before in SCRIPTS[5 : SCRIPTS.index(script)]:
        run_stage(*before)
    if script == ("evaluate",):
        (unprivileged / "metrics").mkdir()
    (unprivileged / "metrics").chmod(0o555)
    kept = contents(unprivileged / "metrics")
    assert stopped(capsys, *script).splitlines()[-1] == WITHOUT_PERMISSION[script]
    assert contents(unprivileged / "metrics") == kept


WRITERS: dict[str, tuple[Any, str]] = {"losses.csv": (Curve, "save"), "network.pt": (TrainingContext, "save")}


@pytest.mark.parametrize("file", WRITERS)
def test_a_disk_that_is_full_when_the_outputs_are_written_does_not_cost_the_training(
    project: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    script, folder = ("warm_up", "target"), project / places.WARM_UP_TARGET
    run_stage(*script)
    whole = contents(folder)
    shutil.rmtree(folder)
    shutil.rmtree(project / ".work")
    owner, name = WRITERS[file]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, limited(getattr(owner, name)))
        shown = stopped(capsys, *script)
    assert f"error: {places.WARM_UP_TARGET / file}: File too large; what was there before is as it was" in shown
    assert not (folder / file).exists()
    run_stage(*script)
    assert "resuming from iteration 2," in capsys.readouterr().out
    assert contents(folder) == whole


def limited(write: Callable[..., Any]) -> Callable[..., Any]:
    def on_a_full_disk(*arguments: Any, **settings: Any) -> Any:
        is_live = any(isinstance(one, Path) and ".work" in one.parts for one in arguments)
        with nullcontext() if is_live else file_size_limit(10):
            return write(*arguments, **settings)

    return on_a_full_disk
