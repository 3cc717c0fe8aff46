"""The training stages, interrupted in this process: what they go on from, what they refuse to, what a full disk does.

Kills from outside, of the trainer and of dvc: tests/endurance.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dstc.core import places
from dstc.training import loop, working_folder
from tests.bad_input.conftest import TRAININGS, contents, name_of, run_stage, set_params
from tests.core.test_files import file_size_limit
from tests.preparation import trees

ITERATIONS = 6


def lengthen() -> None:
    longer = {"iterations": ITERATIONS, "schedule_iterations": ITERATIONS, "validate_every": 3}
    set_params(
        warm_up__source=longer,
        warm_up__target=longer,
        joint=longer,
        co_train=longer,
        runtime={"checkpoint_every_minutes": 1e-9},
    )


def interrupt(script: tuple[str, ...], iteration: int) -> None:
    """Run a stage that is told to stop while it does that iteration (counted from 1)."""
    checked, done = loop.finite_losses, []

    def count(*arguments: Any, **settings: Any) -> dict[str, float]:
        done.append(1)
        if settings["iteration"] == iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return checked(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "finite_losses", count)
        with pytest.raises(SystemExit) as stopped:
            run_stage(*script)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert done


def result(script: tuple[str, ...]) -> dict[str, bytes]:
    return contents(Path("data") / name_of(script))


def forget(script: tuple[str, ...]) -> None:
    shutil.rmtree(Path("data") / name_of(script), ignore_errors=True)
    shutil.rmtree(".work", ignore_errors=True)


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
@pytest.mark.usefixtures("project")
def test_the_bytes_are_the_same_with_any_number_of_workers_interrupted_or_not(
    script: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lengthen()
    results = {}
    for before, after, interrupted in ((0, 0, 0), (1, 1, 0), (3, 3, 0), (0, 3, 3), (3, 1, 4)):
        forget(script)
        set_params(runtime={"workers": before})
        if interrupted:
            interrupt(script, interrupted)
            assert f"resuming from iteration {interrupted}" not in capsys.readouterr().out
            set_params(runtime={"workers": after})
        run_stage(*script)
        assert (f"resuming from iteration {interrupted}," in capsys.readouterr().out) == bool(interrupted)
        results[before, after, interrupted] = result(script)
    first, *others = results.values()
    assert len(first) >= 3
    for case, other in zip(list(results)[1:], others, strict=True):
        assert {name for name in first.keys() | other.keys() if first.get(name) != other.get(name)} == set(), case


def _other_photo() -> None:
    """As if a label had been mended and prepare_data run again: the index carries another digest."""
    text = places.INDEX_TARGET_TRAIN.read_text()
    at = text.index('"image_digest": "') + len('"image_digest": "')
    places.INDEX_TARGET_TRAIN.write_text(text[:at] + "0" * 16 + text[at + 16 :])


def _other_split() -> None:
    labeled, unlabeled = places.SPLIT / "labeled.txt", places.SPLIT / "unlabeled.txt"
    first, second = labeled.read_text(), unlabeled.read_text()
    labeled.write_text(second)
    unlabeled.write_text(first)


CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "a rate": (lambda: set_params(warm_up__target={"learning_rate": 0.1}), "parameter warm_up_target.learning_rate"),
    "the seed": (lambda: set_params(**{"": {"seed": 1}}), "parameter seed"),
    "the model": (lambda: set_params(model={"batch_norm_affine": "frozen"}), "parameter model.batch_norm_affine"),
    "the data": (_other_photo, "input data/index/target_train.json"),
    "the split": (_other_split, "input data/split"),
    "the code": (lambda: None, "code dstc.training.loop"),
    "torch": (lambda: None, "version of torch"),
    "the threads": (lambda: set_params(runtime={"threads": 2}), "runtime.threads"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("project")
def test_a_state_of_anything_else_is_not_taken_up_and_why_is_said(
    change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    script = ("warm_up", "target")
    lengthen()
    interrupt(script, 3)
    make, why = CHANGES[change]
    make()
    if change == "the code":
        known = working_folder._code()
        monkeypatch.setattr(working_folder, "_code", lambda: {**known, "dstc.training.loop": "changed"})
    if change == "torch":
        monkeypatch.setattr(working_folder, "version", lambda name: "9.9" if name == "torch" else "1")
    capsys.readouterr()
    if change == "the data":  # the photo itself is the old one, so that training stops at it, but not before
        with pytest.raises(SystemExit):
            run_stage(*script)
    else:
        run_stage(*script)
    out = capsys.readouterr().out
    assert f"warm_up_target: starts over: an interrupted run differs in {why}" in out
    assert "goes on" not in out


@pytest.mark.parametrize("script", TRAININGS, ids=name_of)
@pytest.mark.usefixtures("project")
def test_on_a_full_disk_a_training_stops_with_the_file_named_and_goes_on_from_the_state_before(
    script: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lengthen()
    run_stage(*script)
    whole = result(script)
    forget(script)
    interrupt(script, 1)
    (state,) = Path(".work/runs").glob("*/state.pt")
    before = state.read_bytes()
    capsys.readouterr()
    for room in (len(before) // 2, len(before) - 100):  # full while the tensors are written, and at the very end
        with file_size_limit(room), pytest.raises(SystemExit) as ended:
            run_stage(*script)
        assert ended.value.code == 1
        shown = capsys.readouterr()
        assert shown.err.endswith(f"error: {state}: File too large; what was there before is as it was\n")
        assert "Traceback" not in shown.err
        assert state.read_bytes() == before
        assert list(Path().rglob("*.partial")) == []
    run_stage(*script)
    assert "resuming from iteration 1," in capsys.readouterr().out
    assert result(script) == whole


@pytest.mark.parametrize("folder", [".work/runs", "data/warm_up_target", "data"])
def test_a_folder_that_may_not_be_written_is_named_before_training_is_paid_for(
    unprivileged: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    shutil.rmtree(unprivileged / ".work")
    place = unprivileged / folder
    place.mkdir(parents=True, exist_ok=True)
    if folder == "data":
        shutil.rmtree(unprivileged / "data/warm_up_target")
    place.chmod(0o555)
    with pytest.raises(SystemExit) as ended:
        run_stage("warm_up", "target")
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert f"error: {folder}" in shown.err
    assert shown.err.endswith(": Permission denied\n")
    assert "iterations in" not in shown.out


@pytest.mark.parametrize("script", [("prepare_data",), ("make_split",)], ids=name_of)
def test_an_output_that_may_not_be_written_is_named(
    unprivileged: Path, capsys: pytest.CaptureFixture[str], script: tuple[str, ...]
) -> None:
    before = contents(unprivileged / "data")
    (unprivileged / "data").chmod(0o555)
    with pytest.raises(SystemExit) as ended:
        run_stage(*script)
    assert ended.value.code == 1
    assert re.search(r"^error: data/\w+: Permission denied$", capsys.readouterr().err, re.MULTILINE)
    assert contents(unprivileged / "data") == before


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_saves_and_stops_though_loader_workers_are_in_it(
    project: Path, signal_: signal.Signals
) -> None:
    """As Ctrl-C does, and a batch system that ends a job: workers that died of it would take the training along."""
    set_params(warm_up__target={"iterations": 100_000, "schedule_iterations": 100_000, "validate_every": 100_000})
    set_params(runtime={"workers": 2, "checkpoint_every_minutes": 1e-9})
    environment = {**os.environ, "PYTHONPATH": str(trees.PROJECT)}
    trainer = subprocess.Popen(
        [sys.executable, "-m", "stages.warm_up", "target"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not list(project.glob(".work/runs/*/state.pt")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(trainer.pid, signal_)
    said, _ = trainer.communicate(timeout=120)
    assert f"warm_up_target: stopped by {signal_.name} after iteration " in said
    assert "it is saved: type the same command again to resume\n" in said
    assert trainer.returncode == 128 + signal_
    assert "Traceback" not in said
