"""How many processes there are, and stages that several of them run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from dstc.core.errors import UserError
from dstc.core.index import load_index
from dstc.core.randomness import stream_seed
from dstc.data.loaders import _order
from dstc.training import launching
from tests.pipeline.project import Project, small_project

# --- how many


def number(monkeypatch: pytest.MonkeyPatch, wanted: int | str, *batches: int, gpus: int, device: str = "auto") -> int:
    """How many processes torchrun is asked for; 1 where the work is done at once."""
    started = [1]
    monkeypatch.setattr(launching, "choose_device", lambda _: torch.device("cuda" if gpus else "cpu"))
    monkeypatch.setattr(launching, "gpus", lambda _: gpus)
    monkeypatch.setattr(launching, "_torchrun", lambda _, count: started.append(count))
    sizes = {f"batch.{number}": batch for number, batch in enumerate(batches)}
    launching.in_processes(lambda: None, ["stage"], wanted=wanted, device=device, batches=sizes)
    return started[-1]


def test_auto_is_one_process_for_each_gpu_that_has_a_share_of_every_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert number(monkeypatch, "auto", 8, gpus=4) == 4
    assert number(monkeypatch, "auto", 8, gpus=0) == 1
    assert number(monkeypatch, "auto", 8, gpus=1) == 1
    assert capsys.readouterr().out == ""
    assert number(monkeypatch, "auto", 12, 6, gpus=8) == 6
    assert "6 of 8 GPUs, for no more can share the batches evenly (batch.0 12, batch.1 6)" in capsys.readouterr().out


def test_a_number_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert number(monkeypatch, 2, 4, gpus=0) == 2
    assert number(monkeypatch, 2, 4, gpus=4) == 2
    with pytest.raises(UserError, match=r"runtime\.processes is 8, but runtime\.device 'auto' has 4 .* at most 4"):
        number(monkeypatch, 8, 8, gpus=4)
    with pytest.raises(
        UserError, match=r"batch\.1 is 6, which 4 processes cannot share evenly; make it a multiple of 4"
    ):
        number(monkeypatch, 4, 8, 6, gpus=4)


def test_one_process_of_several_machines_is_started_by_torchrun_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_NNODES", "2")
    started = []
    monkeypatch.setattr(launching, "_torchrun", lambda _, count: started.append(count))
    launching.in_processes(lambda: None, ["stage"], wanted=1, device="cpu", batches={"batch": 4})
    assert started == [1]


# --- stages


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose warm-up on the source takes some seconds in two processes."""
    root = tmp_path_factory.mktemp("project")
    project = small_project(root)
    project.edit_params(
        {
            "model": {"batch_norm_statistics": "running"},
            "co_train": {"student_batch_norm": "running", "teacher_batch_norm": "running"},
            "warm_up.source": {
                "iterations": 100,
                "schedule_iterations": 100,
                "learning_rate": 0.0005,
                "validate_every": 10,
            },
            "runtime": {"processes": 2, "workers": 1},
        }
    )
    project.ok(sys.executable, "-m", "stages.prepare_data")
    return project


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    return project.copy(tmp_path)


WARM_UP = (sys.executable, "-m", "stages.warm_up", "source")


def started(project: Project, command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def interrupted(copy: Project) -> Iterator[Callable[..., tuple[int, str]]]:
    """Start the warm-up, do something to its process once it trains; its exit status and the output of all of it."""
    begun: list[subprocess.Popen[str]] = []

    def run(do: Callable[[int], None], command: Sequence[str] = WARM_UP) -> tuple[int, str]:
        begun.append(started(copy, command))
        (process,) = begun
        assert process.stdout is not None
        shown = ""
        for line in process.stdout:
            shown += line
            if line.startswith("warm_up_source 20 "):
                do(process.pid)
        return process.wait(timeout=300), shown

    yield run
    for process in begun:
        process.kill()


def weights(project: Project) -> dict[str, torch.Tensor]:
    return torch.load(project.root / "data/warm_up_source/network.pt", weights_only=True)["state"]


def test_a_stage_told_to_stop_saves_and_goes_on_with_as_many_processes(
    copy: Project, project: Project, tmp_path: Path, interrupted: Callable[..., tuple[int, str]]
) -> None:
    code, shown = interrupted(lambda pid: os.kill(pid, signal.SIGTERM))
    assert code == 128 + signal.SIGTERM, shown
    assert len(re.findall(r"stopped by SIGTERM after iteration \d+ of 100; it is saved", shown)) == 1, shown
    assert "Traceback" not in shown
    resumed = copy.ok(*WARM_UP)
    assert re.search(r"resuming from iteration (2\d|[3-9]\d)", resumed.text), resumed.text
    alone = project.copy(tmp_path / "alone")
    alone.edit_params({"runtime": {"processes": 1}})
    alone.ok(*WARM_UP)
    ours, expected = weights(copy), weights(alone)
    assert ours.keys() == expected.keys()
    assert max((ours[name] - expected[name]).abs().max().item() for name in ours) < 1e-4  # after a hundred iterations


def test_one_process_decodes_and_leaves_the_record_of_the_costs(copy: Project) -> None:
    copy.edit_params({"warm_up.source": {"iterations": 2, "schedule_iterations": 2}})
    shown = copy.ok(*WARM_UP).text
    assert shown.count("decoded once into") == 2, shown  # the source, and the val images
    assert "waiting for it" not in shown
    assert len(list((copy.root / ".work/costs").glob("warm_up_source-*.json"))) == 1


def test_processes_whose_dvc_is_killed_save_and_stop(
    copy: Project, interrupted: Callable[..., tuple[int, str]]
) -> None:
    """Not before: what torchrun started is of a process group of its own, as what a dead dvc leaves is."""
    long = {
        "iterations": 5000,
        "schedule_iterations": 5000,
    }  # minutes, for a busy machine notices late that dvc is gone
    copy.edit_params({"warm_up.source": long})
    code, shown = interrupted(lambda pid: os.kill(pid, signal.SIGKILL), ("dvc", "repro", "warm_up_source"))
    assert code == -signal.SIGKILL
    assert re.search(r"stopped by SIGTERM after iteration \d+ of 5000; it is saved", shown), shown
    (state,) = (copy.root / ".work/runs").glob("warm_up_source-*/state.pt")
    assert torch.load(state, weights_only=True)["iteration"] >= 20


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_second_signal_ends_all_processes_at_once_though_one_is_stuck(
    interrupted: Callable[..., tuple[int, str]],
) -> None:
    started: list[int] = []

    def stop_the_second_and_end(pid: int) -> None:
        started.extend(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        os.kill(started[1], signal.SIGSTOP)
        for _ in range(2):
            os.kill(pid, signal.SIGTERM)
            time.sleep(2)

    began = time.monotonic()
    code, shown = interrupted(stop_the_second_and_end)
    assert code == 128 + signal.SIGTERM, shown
    assert time.monotonic() - began < 120  # torchrun would wait for ten minutes
    until = time.monotonic() + 20  # who was killed is gone a moment later
    while any(_lives(pid) for pid in started):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_process_that_is_killed_ends_all_and_is_named(interrupted: Callable[..., tuple[int, str]]) -> None:
    def kill_the_second(pid: int) -> None:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)

    code, shown = interrupted(kill_the_second)
    assert code == 128 + signal.SIGKILL, shown
    assert "error: process 1 was ended by SIGKILL; the others were stopped" in shown
    assert "Traceback" not in shown


def test_a_mistake_that_one_process_meets_ends_all_with_its_message(copy: Project) -> None:
    """The third image of the first batch of four is the second process's."""
    index = load_index(copy.root / "data/index/source.json")
    position = _order(stream_seed(0, "warm_up_source"), "source", 0, len(index))[2]
    image = copy.root / "data/world/gta5" / index.entries[position].image
    image.write_bytes(image.read_bytes()[:100])
    reply = copy.call(*WARM_UP)
    assert reply.code == 1
    errors = [line for line in reply.text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert image.name in errors[0]
    assert "Traceback" not in reply.text


def test_batch_statistics_cannot_be_synchronized_on_the_cpu_and_all_say_so_once(copy: Project) -> None:
    copy.edit_params({"model": {"batch_norm_statistics": "batch"}})
    reply = copy.call(*WARM_UP)
    assert reply.code == 1
    errors = [line for line in reply.text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "runtime.processes is 2, but torch takes BatchNorm's statistics over the batch of several" in errors[0]
    assert list((copy.root / ".work/runs").glob("*")) == []
