"""TensorBoard, if it is installed, reads what a training wrote; no training depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dstc.config.params import check_params
from dstc.core.errors import UserError
from dstc.training.working_folder import WorkingFolder
from tests.preparation.trees import raw_params
from tests.training.test_interruption import ITERATIONS, equal, folder, new_state, run

__all__ = ["folder"]  # a fixture


def shown(board: Path) -> Any:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return events.EventAccumulator(str(board)).Reload()


def draw(folder: Path, *iterations: int) -> None:
    (folder / "mixing").mkdir(exist_ok=True)
    for iteration in iterations:
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / f"mixing/iteration_{iteration:06d}.png")


def test_losses_rates_scores_and_pictures_are_shown_once_also_after_an_interruption(
    folder: WorkingFolder, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    board = tmp_path / "board"
    with folder.held():
        draw(folder.path, 1)
        with pytest.raises(SystemExit):
            run(new_state(), folder, stop_after=7, tensorboard=board)
    before = shown(board / folder.path.name)
    assert [event.step for event in before.Scalars("only/loss")] == list(range(1, 7))
    with folder.held():
        draw(folder.path, 7, 11)
        state = run(new_state(), folder, tensorboard=board)
    after = shown(board / folder.path.name)
    assert sorted(after.Tags()["scalars"]) == ["learning_rate", "only/loss", "validation/miou"]
    for name in ("learning_rate", "only/loss"):
        assert [event.step for event in after.Scalars(name)] == list(range(1, ITERATIONS + 1))
        expected = [row[name] for row in state.losses.rows]
        assert [event.value for event in after.Scalars(name)] == pytest.approx(expected, rel=1e-6)
    assert [(event.step, event.value) for event in after.Scalars("validation/miou")] == [(5, 5), (10, 10), (12, 12)]
    assert [(image.step, image.width, image.height) for image in after.Images("mixing")] == [
        (1, 6, 4),
        (7, 6, 4),
        (11, 6, 4),
    ]


def test_what_is_learnt_is_the_same_with_and_without_it(folder: WorkingFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    with folder.held():
        watched = run(new_state(), folder, tensorboard=tmp_path / "board")
    assert equal(watched.as_dict(), run(new_state(), None).as_dict())


def test_without_the_package_the_parameter_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dstc.config.sections.find_spec", lambda _: None)
    assert check_params(raw_params(), "params.yaml").runtime.tensorboard is None
    with pytest.raises(
        UserError, match=r"runtime: tensorboard needs a package .*: pip install tensorboard, or set it to"
    ):
        check_params(raw_params(runtime={"tensorboard": "board"}), "params.yaml")
