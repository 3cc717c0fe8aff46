"""`make watch`: the newest rows of the trainings that are running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dstc.core.files import locked
from dstc.core.places import LOSSES, VALIDATION
from dstc.core.run_folders import lock_of, runs_folder
from dstc.training.watch import Watch
from tests.pipeline.project import ROOT

IDLE = f"no training is running in {runs_folder()}; waiting for one"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def running(name: str) -> Iterator[Path]:
    run = runs_folder() / name
    run.mkdir(parents=True, exist_ok=True)
    with locked(lock_of(run), lambda: "held"):
        yield run


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def news(watch: Watch) -> list[str]:
    return list(watch.news())


def test_first_the_newest_row_of_each_curve_comes_then_every_new_one() -> None:
    watch = Watch()
    with running("co_train-1") as run:
        assert news(watch) == []
        write(run / LOSSES, "iteration,a/loss,b/loss\n1,3,\n2,2,0.5\n")
        write(run / VALIDATION, "iteration,average_miou\n2,30.5\n")
        assert news(watch) == [
            "co_train-1 losses:  iteration 2  a/loss 2  b/loss 0.5",
            "co_train-1 validation:  iteration 2  average_miou 30.5",
        ]
        write(run / LOSSES, "3,1,\n4,0.5,0.25\n5,0.")  # the last of them is being written
        assert news(watch) == [
            "co_train-1 losses:  iteration 3  a/loss 1",
            "co_train-1 losses:  iteration 4  a/loss 0.5  b/loss 0.25",
        ]
        assert news(watch) == []
        write(run / LOSSES, "125,\n")
        assert news(watch) == ["co_train-1 losses:  iteration 5  a/loss 0.125"]


def test_where_nothing_runs_it_says_so_once_and_again_when_the_last_training_has_ended() -> None:
    watch = Watch()
    assert [news(watch), news(watch)] == [[IDLE], []]
    with running("joint-1") as run:
        write(run / LOSSES, "iteration,loss\n1,3\n")
        assert news(watch) == ["joint-1 losses:  iteration 1  loss 3"]
        write(run / LOSSES, "2,1\n")  # and then it ends
    assert [news(watch), news(watch)] == [["joint-1 losses:  iteration 2  loss 1", IDLE], []]
    write(run / LOSSES, "3,1\n")
    assert news(watch) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_trace(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "dstc.training.watch"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == f"{IDLE}\n"
        watcher.send_signal(number)
        assert watcher.stdout.read() == ""
    assert watcher.returncode == 0
