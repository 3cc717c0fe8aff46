"""An interrupted training goes on as if it had never been interrupted."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.core.launched import STARTED_BY
from dstc.core.places import LOSSES, VALIDATION
from dstc.core.run_folders import STATE, remove_recorded, runs_folder
from dstc.training.curves import Curve, LiveFile
from dstc.training.interruption import Interruption
from dstc.training.learner import Learner
from dstc.training.loop import CheckpointPolicy, Plan, train
from dstc.training.optimizer import build_optimizer, set_learning_rate
from dstc.training.runs import list_runs, main
from dstc.training.state import TrainingState
from dstc.training.working_folder import WorkingFolder

ITERATIONS = 12


def new_state(optimizer: str = "sgd") -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        network = nn.Sequential(OrderedDict(backbone=backbone, classifier=nn.Linear(4, 1)))
    built = build_optimizer(
        network,
        backbone_multiplier=1,
        classifier_multiplier=1,
        momentum=0.9,
        weight_decay=5e-4,
        optimizer=optimizer,
        clip_gradient_norm=0.1,
    )
    return TrainingState([Learner("only", network, built)])


def numbers(first: int) -> Iterator[Tensor]:
    for iteration in itertools.count(first):
        yield torch.randn(5, 3, generator=torch.Generator().manual_seed(iteration))


def validation(iteration: int) -> dict[str, float]:
    return {"miou": float(iteration)}


def run(
    state: TrainingState,
    folder: WorkingFolder | None,
    *,
    stop_after: int | None = None,
    batches: Callable[[int], Iterator[Tensor]] = numbers,
    validate: Callable[[int], dict[str, float]] = validation,
    tensorboard: Path | None = None,
    minutes: float = 1000,
) -> TrainingState:
    """Train; with `stop_after`, be told to stop during that iteration (counted from 1)."""
    (learner,) = state.learners

    def step(iteration: int, batch: Tensor, rate: float) -> dict[str, Tensor]:
        if iteration + 1 == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        set_learning_rate(learner.optimizer, rate)
        learner.zero_grad()
        learner.back_propagate({"loss": learner.network(batch).square().mean()})
        learner.step()
        return learner.losses

    plan = Plan(
        name="test",
        iterations=ITERATIONS,
        learning_rate=lambda iteration: 0.1 / (1 + iteration),
        batches=batches,
        step=step,
        validate=validate,
        validate_every=5,
    )
    checkpoints = CheckpointPolicy(folder, minutes, tensorboard) if folder else None
    train(plan, state, device=torch.device("cpu"), checkpoints=checkpoints)
    return state


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkingFolder:
    monkeypatch.chdir(tmp_path)
    return working_folder(lr=0.1)


def working_folder(stage: str = "test", *inputs: Path, **params: float) -> WorkingFolder:
    return WorkingFolder(stage, params=params, inputs=inputs, outputs=Path("out"))


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 11])
def test_a_run_that_was_told_to_stop_and_went_on_is_equal_to_the_bit(
    folder: WorkingFolder, stop_after: int, optimizer: str
) -> None:
    with folder.held(), pytest.raises(SystemExit) as stopped:
        run(new_state(optimizer), folder, stop_after=stop_after)
    assert stopped.value.code == 128 + signal.SIGTERM
    with folder.held():
        resumed = run(new_state(optimizer), folder)
    assert equal(resumed.as_dict(), run(new_state(optimizer), None).as_dict())


def told_to_stop(seconds: float = 0.3) -> None:
    """Wait for what does not come, and be told to stop meanwhile."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()
    time.sleep(60)
    pytest.fail("nobody answered")


def broken() -> None:
    raise UserError("a worker ended")


@pytest.mark.parametrize(("happens", "ends"), [(told_to_stop, SystemExit), (broken, UserError)])
@pytest.mark.parametrize("while_", ["waiting for a batch", "validating", "validating at the end"])
def test_what_ends_a_training_between_steps_costs_none_of_them(
    folder: WorkingFolder,
    capsys: pytest.CaptureFixture[str],
    while_: str,
    happens: Callable[[], None],
    ends: type[BaseException],
) -> None:
    def batches(first: int) -> Iterator[Tensor]:
        for iteration, batch in zip(itertools.count(first), numbers(first), strict=False):
            if while_ == "waiting for a batch" and iteration == 6:
                happens()
            yield batch

    def validate(iteration: int) -> dict[str, float]:
        if (while_, iteration) in (("validating", 5), ("validating at the end", ITERATIONS)):
            happens()
        return validation(iteration)

    done = {"waiting for a batch": 6, "validating": 5, "validating at the end": ITERATIONS}[while_]
    with folder.held(), pytest.raises(ends):
        run(new_state(), folder, batches=batches, validate=validate)
    reason = "an error" if happens is broken else "SIGTERM"
    assert f"stopped by {reason} after iteration {done} of 12; it is saved: type the same" in capsys.readouterr().out
    with folder.held():
        resumed = run(new_state(), folder)
    assert f"resuming from iteration {done}," in capsys.readouterr().out
    assert equal(resumed.as_dict(), run(new_state(), None).as_dict())


def test_nothing_of_a_step_that_is_not_finite_is_saved_though_its_successors_images_are_broken(
    folder: WorkingFolder,
) -> None:
    def batches(first: int) -> Iterator[Tensor]:
        for iteration, batch in zip(itertools.count(first), numbers(first), strict=False):
            if iteration == 7:
                broken()
            yield batch if iteration < 6 else batch * float("nan")

    state = new_state()
    with folder.held():
        with pytest.raises(UserError, match="iteration 7: the loss only/loss is nan"):
            run(state, folder, batches=batches)
        assert folder.load() is None
    assert state.iteration == 6


def test_a_step_is_done_whole_whatever_comes_meanwhile_but_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from dstc.training.failure_snapshot import FailureSnapshot\n"
        "from tests.training.test_interruption import new_state, run\n"
        "def held_up(self):\n"
        "    print('at it', flush=True)\n"
        "    time.sleep(600)\n"
        "FailureSnapshot.take = held_up\n"
        "run(new_state(), None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    trainer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "at it\n"
    for _ in range(2):  # by two ways at once: one request
        trainer.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.wait(1.5)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(120) == 128 + signal.SIGTERM


def test_no_process_ends_before_the_first_has_saved(folder: WorkingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a signal reached one process alone, as that of another machine, torchrun gives the others 30 seconds."""
    saved_when_agreeing: list[bool] = []

    def any_of(flag: bool) -> bool:
        saved_when_agreeing.append((folder.path / STATE).exists())
        return flag

    monkeypatch.setattr(processes, "any_of", any_of)
    with folder.held(), pytest.raises(SystemExit):
        run(new_state(), folder, stop_after=3)
    assert saved_when_agreeing[-1]


def test_a_run_that_was_killed_loses_the_iterations_since_the_last_save_only(
    folder: WorkingFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    state = new_state()
    original = state.losses.add

    def dies(values: dict[str, float]) -> None:
        if state.iteration == 7:
            raise Killed
        original(values)

    state.losses.add = dies  # type: ignore[method-assign]
    with monkeypatch.context() as an_iteration_takes_a_minute, folder.held():
        an_iteration_takes_a_minute.setattr(time, "monotonic", lambda: 60.0 * state.iteration)
        with pytest.raises(Killed):
            run(state, folder, minutes=3.5)
    assert iterations_in(folder.path / LOSSES) == [1, 2, 3, 4, 5, 6]
    assert iterations_in(folder.path / VALIDATION) == [5]
    with folder.held():
        resumed = run(new_state(), folder)
    assert "resuming from iteration 4" in capsys.readouterr().out
    assert equal(resumed.as_dict(), run(new_state(), None).as_dict())
    assert iterations_in(folder.path / LOSSES) == list(range(1, ITERATIONS + 1))
    assert iterations_in(folder.path / VALIDATION) == [5, 10, 12]


def iterations_in(curve: Path) -> list[int]:
    return [int(row["iteration"]) for row in csv.DictReader(curve.read_text().splitlines())]


def test_curves_that_cannot_be_written_end_a_training_but_cost_none_of_it(
    folder: WorkingFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(live: LiveFile, curve: Curve) -> None:
        if len(curve.rows) == 6:
            raise OSError(28, "No space left on device", str(live.path))

    with folder.held(), monkeypatch.context() as patch:
        patch.setattr(LiveFile, "show", full)
        with pytest.raises(OSError, match=r"No space left .*losses\.csv"):
            run(new_state(), folder)
    assert "stopped by an error after iteration 6 of 12; it is saved" in capsys.readouterr().out
    with folder.held():
        resumed = run(new_state(), folder)
    assert equal(resumed.as_dict(), run(new_state(), None).as_dict())


def test_a_state_that_cannot_be_saved_ends_a_training_at_what_was_saved_before(
    folder: WorkingFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = WorkingFolder.save

    def full(self: WorkingFolder, state: Mapping[str, Any]) -> None:
        if state["iteration"] > 4:
            raise OSError(28, "No space left on device", "state.pt")
        save(self, state)

    with folder.held(), monkeypatch.context() as patch:
        patch.setattr(WorkingFolder, "save", full)
        with pytest.raises(OSError, match=r"No space left .*state\.pt"):
            run(new_state(), folder, minutes=0)
    assert "stopped by an error after iteration 6 of 12; saved are 4 iterations: type" in capsys.readouterr().out
    with folder.held():
        resumed = run(new_state(), folder)
    assert equal(resumed.as_dict(), run(new_state(), None).as_dict())


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_a_state_that_cannot_be_read_for_now_is_not_given_up(
    folder: WorkingFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    with folder.held():
        run(new_state(), folder)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "load", fails)
            with pytest.raises(OSError, match=str(folder.path / STATE)):
                run(new_state(), folder)
        assert (folder.path / STATE).exists()


def test_a_finished_state_is_taken_up_whole(folder: WorkingFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill between a stage's end and dvc's own note of it must not cost the training."""
    with folder.held():
        whole = run(new_state(), folder)
        again = run(new_state(), folder)
    assert "test: 0 iterations" in capsys.readouterr().out
    assert equal(whole.as_dict(), again.as_dict())


def test_other_parameters_inputs_or_code_get_a_folder_of_their_own(
    folder: WorkingFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder.held():
        run(new_state(), folder)
    other = working_folder(lr=0.2)
    assert other.path != folder.path
    with other.held():
        assert other.load() is None
    assert "starts over: an interrupted run differs in parameter lr" in capsys.readouterr().out

    data = tmp_path / "input.txt"
    data.write_text("a")
    first = working_folder("test", data, lr=0.1)
    data.write_text("b")
    assert working_folder("test", data, lr=0.1).path != first.path
    assert any(key.startswith("code dstc.training.loop") for key in folder.manifest)


def test_the_version_of_timm_counts_where_a_network_of_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    monkeypatch.delitem(sys.modules, "timm")
    without = working_folder().manifest
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert working_folder().manifest == {**without, "version of timm": timm.__version__}


def test_a_state_that_cannot_be_read_starts_anew_and_says_so(
    folder: WorkingFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder.held():
        run(new_state(), folder)
        path = folder.path / "state.pt"
        path.write_bytes(path.read_bytes()[:100])
        assert folder.load() is None
    assert "starts over, for the saved state cannot be used" in capsys.readouterr().out


def test_a_run_that_ends_before_anything_is_saved_leaves_no_folder(folder: WorkingFolder) -> None:
    with folder.held():
        assert folder.path.exists()
    assert not list(runs_folder().iterdir())
    assert not list(folder.outputs.iterdir())


def test_a_second_process_waits_and_says_for_whom(folder: WorkingFolder, tmp_path: Path) -> None:
    code = (
        "from dstc.training.working_folder import WorkingFolder\n"
        "from pathlib import Path\n"
        "folder = WorkingFolder('test', params={'lr': 0.1}, inputs=[], outputs=Path('copy/out'))\n"
        f"folder.path = Path({str(folder.path.absolute())!r})\n"
        "with folder.held(): print('in')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with folder.held():
        second = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
        assert second.stdout is not None
        assert f"process {os.getpid()} is at this very run" in second.stdout.readline()
        assert second.poll() is None
    assert second.stdout.readline() == "in\n"
    assert second.wait(timeout=120) == 0


def test_a_folder_goes_once_dvc_lock_records_its_run(folder: WorkingFolder, tmp_path: Path) -> None:
    output = tmp_path / "network.pt"
    output.write_bytes(b"weights")
    with folder.held():
        run(new_state(), folder)
        assert [run.state for run in list_runs()] == ["at work"]
        folder.finish(output)
    remove_recorded(tmp_path / "dvc.lock")
    assert folder.path.exists()
    assert [run.state for run in list_runs()] == ["finished"]
    (tmp_path / "dvc.lock").write_text("md5: " + (folder.path / "finished").read_text())
    remove_recorded(tmp_path / "dvc.lock")
    assert not folder.path.exists()


def test_old_working_folders_are_listed_and_cleaned_by_one_command_but_not_one_at_work(
    folder: WorkingFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([])
    assert capsys.readouterr().out == "nothing to list in .work/runs\n"
    others = [working_folder("other", lr=rate) for rate in (1, 2)]
    for other in others:
        with other.held():
            run(new_state(), other)
    for file in others[0].path.iterdir():
        os.utime(file, (0, 0))
    (tmp_path / ".work/failures").mkdir()
    (tmp_path / ".work/failures/test_iteration_000003.pt").write_bytes(b"evidence")
    with folder.held():
        run(new_state(), folder)
        capsys.readouterr()
        main(["list"])
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[1] for line in lines] == ["interrupted", "interrupted", "at work", "failed step"]
        main(["clean", "--hours", "1"])
        assert capsys.readouterr().out.startswith(f"removed {others[0].path}  interrupted  ")
        assert others[1].path.exists()
        main(["clean"])
        assert [run.path for run in list_runs()] == [folder.path]
        assert folder.load() is not None
    assert not (tmp_path / ".work/failures/test_iteration_000003.pt").exists()


def test_a_training_of_other_parameters_waits_while_one_is_about_to_write_to_the_same_outputs(
    folder: WorkingFolder, tmp_path: Path
) -> None:
    code = (
        "from pathlib import Path\n"
        "from dstc.training.working_folder import WorkingFolder\n"
        "with WorkingFolder('test', params={'lr': 0.2}, inputs=[], outputs=Path('out')).held(): print('in')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with folder.held():
        second = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
        assert second.stdout is not None
        assert second.stdout.readline() == "test: another process is about to write to out; waiting for it\n"
        assert second.poll() is None
    assert second.stdout.readline() == "in\n"
    assert second.wait(timeout=120) == 0


def test_the_script_of_the_stage_is_part_of_the_code_but_the_schema_of_params_yaml_is_not(tmp_path: Path) -> None:
    """The script runs as `__main__`, under which name nobody would look for it. An edited check of a parameter must not
    throw a half-done training away (tests/config/test_schema.py)."""
    code = (
        "import argparse, runpy\n"
        "from dstc.training import working_folder\n"
        "def look(*_, **__): print('\\n'.join(working_folder._code())); raise SystemExit\n"
        "argparse.ArgumentParser.parse_args = look\n"
        "runpy.run_module('stages.warm_up', run_name='__main__', alter_sys=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    ).stdout.split()
    assert "stages.warm_up" in names
    assert "dstc.training.loop" in names
    assert [name for name in names if name.startswith("dstc.config")] == []


def test_a_process_whose_dvc_died_before_it_came_to_look_stops_at_once(
    folder: WorkingFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_STAGE", "warm_up_source")
    monkeypatch.setattr(os, "getpgrp", lambda: -1)
    with folder.held(), pytest.raises(SystemExit):
        run(new_state(), folder)
    assert "stopped by the end of the process that started it after iteration 0 of 12" in capsys.readouterr().out


@pytest.mark.parametrize("started_by", [None, *STARTED_BY])
def test_a_training_follows_dvc_or_a_study_and_outlives_the_shell_that_it_was_typed_into(
    monkeypatch: pytest.MonkeyPatch, started_by: str | None
) -> None:
    for name in STARTED_BY:
        monkeypatch.delenv(name, raising=False)
    if started_by:
        monkeypatch.setenv(started_by, "warm_up_source")
    monkeypatch.setattr(os, "getpgid", lambda _: os.getpgrp())  # of a parent that lives
    interruption = Interruption()
    assert interruption.reason is None
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert interruption.reason == ("the end of the process that started it" if started_by else None)
