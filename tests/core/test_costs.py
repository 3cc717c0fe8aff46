"""The records of time and memory that stages leave beside their outputs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dstc.core.costs import RunRecord, measured, recorded
from stages.make_split import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return tmp_path


def ran(stage, path, content, **more):
    with measured(stage, [path], **more):
        path.write_text(content)


def test_a_record_is_found_by_the_stage_and_by_what_it_made(folder):
    losses = folder / "losses.csv"
    ran("co_train", losses, "first", gpu_memory=lambda: 1)
    ran("co_train", losses, "second", gpu_memory=lambda: 2)
    assert recorded("co_train", [losses]).gpu_memory == 2
    losses.write_text("first")  # as DVC restores it
    assert recorded("co_train", [losses]).gpu_memory == 1
    losses.write_text("third")
    assert recorded("co_train", [losses]) is None
    losses.write_text("second")
    assert recorded("warm_up_source", [losses]) is None


def test_a_record_is_not_found_by_what_is_not_there(folder):
    assert recorded("co_train", [folder / "losses.csv"]) is None


def test_time_and_memory_are_those_of_the_work(folder, monkeypatch):
    clock = iter([100.0, 172.34])
    monkeypatch.setattr("dstc.core.costs.time.monotonic", lambda: next(clock))
    ran("evaluate", folder / "scores.json", "{}")
    cost = recorded("evaluate", [folder / "scores.json"])
    assert cost.seconds == 72.3
    assert 2**24 < cost.memory < 2**40  # bytes: a Python process takes more than 16 MiB
    assert cost.gpu_memory is None
    assert cost.cores >= 1


def test_when_from_which_commit_and_in_which_experiment_are_told(folder, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    ran("evaluate", folder / "scores.json", "no git")
    assert recorded("evaluate", [folder / "scores.json"]).commit == ""
    git("init", "-q")
    for path in ("code.py", "params.yaml", "dvc.lock"):
        (folder / path).write_text("")
        git("add", path)
    git("commit", "-qm", "code")
    commit = git("rev-parse", "--short", "HEAD")
    for changed, told in (("params.yaml", commit), ("dvc.lock", commit), ("code.py", f"{commit}+")):
        (folder / changed).write_text("changed")
        ran("evaluate", folder / "scores.json", changed)
        assert recorded("evaluate", [folder / "scores.json"]).commit == told
    monkeypatch.setenv("DVC_EXP_NAME", "six")
    ran("evaluate", folder / "scores.json", "{}")
    record = recorded("evaluate", [folder / "scores.json"])
    assert record.experiment == "six"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", record.ended)


def test_a_stage_that_failed_leaves_no_record(folder):
    def fail():
        with measured("evaluate", [folder / "scores.json"]):
            (folder / "scores.json").write_text("{}")
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        fail()
    assert recorded("evaluate", [folder / "scores.json"]) is None
    assert not (folder / ".work").exists()


def test_records_lie_in_the_main_repository_also_where_dvc_runs_a_stage_in_a_copy(folder, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(folder / "main"))
    ran("evaluate", folder / "scores.json", "{}")
    assert [path.suffix for path in (folder / "main/.work/costs").iterdir()] == [".json"]
    monkeypatch.chdir("/")
    assert isinstance(recorded("evaluate", [folder / "scores.json"]), RunRecord)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seconds": 1}', '{"weeks": 1}'])
def test_a_record_that_says_something_else_is_as_good_as_none(folder, content):
    ran("evaluate", folder / "scores.json", "{}")
    (record,) = (folder / ".work/costs").iterdir()
    record.write_text(content)
    assert recorded("evaluate", [folder / "scores.json"]) is None


def test_a_stage_leaves_its_record(folder, monkeypatch):
    made = [Path("data/split/labeled.txt"), Path("data/split/unlabeled.txt")]

    def make_split(_):
        made[0].parent.mkdir(parents=True)
        for path in made:
            path.write_text("a.png")

    monkeypatch.setattr("stages.make_split.make_split", make_split)
    monkeypatch.setattr("stages.make_split.read_params", lambda **_: type("Params", (), {"split": None}))
    monkeypatch.setattr(sys, "argv", ["make_split"])
    main()
    (record,) = (folder / ".work/costs").iterdir()
    assert set(json.loads(record.read_text())) == {
        *("seconds", "memory", "gpu_memory", "cores"),
        *("ended", "commit", "experiment"),
    }
    assert recorded("make_split", made)
