"""The engine of studies: what is shared, what is run, what is said when it goes wrong. A real run: tests/pipeline."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dstc.config.params import read_yaml
from dstc.core.errors import UserError
from dstc.presets import merge
from experiments import runner, tasks
from experiments.__main__ import RESULTS, refuse_unused
from experiments.registry import STUDIES
from experiments.rows import Rows
from experiments.runner import make, run_missing
from experiments.studies.questions import own
from experiments.study import Job, scores, scores_in_one_row
from experiments.tasks import PROJECT, Run, Stage, Task, plan

MACHINE = ["paths.source=/data/carla", "paths.target=/data/camvid", "model.initial_weights=/data/mobilenet_v2.pth"]


def folders(run: Run, machine: list[str] | None = None) -> dict[str, str]:
    return {task.stage.name: task.digest for task in plan(run, machine or []).with_all_before()}


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    assert one.keys() == other.keys()
    return {stage for stage in one if one[stage] != other[stage]}


@pytest.mark.parametrize(
    ("change", "own_folders"),
    [
        ({"evaluate.pictures": 0}, {"evaluate"}),
        ({"co_train.teachers": "branches"}, {"co_train", "evaluate"}),
        ({"split.size": 20}, {"make_split", "warm_up_target", "joint", "co_train", "evaluate"}),
        ({"runtime.device": "cpu"}, set()),
    ],
)
def test_runs_share_the_stages_that_their_changes_do_not_reach(change: dict[str, Any], own_folders: set[str]) -> None:
    assert differing(folders(Run()), folders(Run(change))) == own_folders


def test_a_change_of_code_reaches_the_stages_that_dvc_would_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before, digest = folders(Run()), tasks.code_digest
    monkeypatch.setattr(tasks, "code_digest", lambda dep: "other" if dep == "dstc/method" else digest(dep))
    assert differing(before, folders(Run())) == {"co_train", "evaluate"}


def test_initial_weights_of_other_content_reach_the_trainings(tmp_path: Path) -> None:
    run, machine, found = Run(preset="carla_camvid"), [*MACHINE[:2], f"model.initial_weights={tmp_path}/a.pth"], []
    for content in (b"1", b"2"):
        (tmp_path / "a.pth").write_bytes(content)
        tasks.weights_digest.cache_clear()
        found.append(folders(run, machine))
    assert differing(*found) == {"warm_up_source", "warm_up_target", "joint", "co_train", "evaluate"}


def test_paths_of_this_machine_reach_the_runs_of_a_preset_alone() -> None:
    run = Run(preset="carla_camvid")
    assert plan(run, MACHINE).params["paths"]["source"] == "/data/carla"
    assert folders(Run(), MACHINE) == folders(Run())
    with pytest.raises(UserError, match=r"paths\.source, paths\.target: must be given"):
        plan(run, [])
    with pytest.raises(UserError, match=r"-S co_train\.iterations=5: must be of runtime\."):
        plan(run, [*MACHINE, "co_train.iterations=5"])


def test_paths_that_no_run_of_a_study_takes_are_refused() -> None:
    with pytest.raises(UserError, match=r"-S paths\.source=/data/carla: this study has the data of params\.yaml"):
        refuse_unused(MACHINE, own([], [0]).jobs())
    refuse_unused(["runtime.threads=1"], own([], [0]).jobs())
    refuse_unused(MACHINE, STUDIES["budget"].jobs())


def test_a_setting_that_no_shell_would_take_is_named() -> None:
    with pytest.raises(UserError, match=r"'split\.size='2': must be key=value \.\.\. as a shell takes it"):
        own(["split.size='2"], [0])


def test_a_mistyped_parameter_of_a_question_is_named() -> None:
    (_, job) = own(["optim.ema_decai=0.5"], [0]).jobs()
    with pytest.raises(UserError, match=r"optim\.ema_decai: unknown key; did you mean 'ema_decay'\?"):
        plan(job.run, [])


@pytest.mark.parametrize(("name", "measured", "jobs"), [("compare", 48, 60), ("variants", 60, 69),
                                                        ("labels", 9, 9), ("parts", 21, 21), ("versus", 6, 6)])  # fmt: skip
def test_the_jobs_of_a_study_find_its_committed_rows(name: str, measured: int, jobs: int) -> None:
    study = STUDIES[name]
    rows = Rows(RESULTS / f"{name}.csv", study.columns)
    listed = list(study.jobs())
    assert len(listed) == jobs
    assert sum(all(map(rows.have, job.rows.values())) for job in listed) >= measured
    for job in listed[::3]:  # each setting with one of its seeds
        plan(job.run, MACHINE)
        assert all(set(key) <= set(study.columns) for key in job.rows.values())


# --- running


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path / "made_up.csv", ("what", "miou", "minutes"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WORK", tmp_path / "work")


def task_of(code: str, name: str = "trial") -> Task:
    """A task that runs a line of Python in its folder."""
    task = Task(name, Stage(name, ("script",), (), (), ()), {}, ())
    task.folder.mkdir(parents=True)
    (task.folder / "script.py").write_text(code)
    return task


@pytest.fixture
def _as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "task_of", lambda stage, _: Task(stage.name, stage, {}, ()))


@pytest.mark.usefixtures("_as_planned")
def test_a_stage_runs_once_on_the_gpu_of_its_slot() -> None:
    task = task_of("import os; print(os.environ['CUDA_VISIBLE_DEVICES'], file=open('seen', 'a'))")
    for _ in range(2):
        make(task, "3")
    assert (task.folder / "seen").read_text() == "3\n"


@pytest.mark.usefixtures("_as_planned")
def test_a_stage_that_fails_is_named_with_its_last_words_and_runs_again() -> None:
    task = task_of("import sys, pathlib; sys.exit('error: no luck' if not pathlib.Path('params').touch() else 0)")
    with pytest.raises(UserError, match=r"script ended with 1: error: no luck \(all of it: .*/log\.txt\)"):
        make(task, None)
    (task.folder / "script.py").write_text("")
    make(task, None)
    assert json.loads((task.folder / "done.json").read_text())["seconds"] is None  # it was begun before


@pytest.mark.usefixtures("_as_planned")
def test_rows_name_the_commit_that_a_stage_began_with(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = iter(["before", "after"])
    monkeypatch.setattr(runner, "code_version", lambda *_: next(commits))
    rows = replace(rows, columns=("what", "miou", "commit"))
    task = task_of("")
    run_missing({Job(Run(), {"": {"what": "a"}}, lambda _: {"": {"miou": 30.0}}): task}, rows, [None])
    assert rows.path.read_text() == "what,miou,commit\na,30.0,before\n"


def test_code_that_changes_while_a_study_runs_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    task, digest = plan(Run(), []), tasks.code_digest.__wrapped__
    first = next(task.with_all_before())
    assert first.stage.name == "prepare_data"
    other = lambda dep: "other" if dep == "dstc/world" else digest(dep)  # noqa: E731
    other.cache_clear = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(tasks, "code_digest", other)
    monkeypatch.setattr(runner, "code_digest", other)
    with pytest.raises(UserError, match="prepare_data: the code or the initial weights have changed since"):
        make(first, None)


def made_up_jobs(count: int) -> dict[Job, Task]:
    stage = Stage("trial", (), (), (), ())
    names = map(str, range(count))
    return {
        Job(Run(), {"": {"what": name}}, lambda _: {"": {"miou": 30.0}}): Task(name, stage, {}, ()) for name in names
    }


def test_a_job_that_fails_leaves_the_rows_of_the_others(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    def fake(task: Task, _: str | None) -> None:
        if task.digest == "1":
            raise UserError("no luck")
        task.folder.mkdir(parents=True)
        (task.folder / "done.json").write_text('{"seconds": 90, "commit": "abc"}')

    monkeypatch.setattr(runner, "make", fake)
    with pytest.raises(UserError, match="1 jobs have no rows\nno luck"):
        run_missing(made_up_jobs(3), rows, [None])
    assert rows.path.read_text() == "what,miou,minutes\n0,30.0,1.5\n2,30.0,1.5\n"


def test_each_slot_has_one_job_at_a_time(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    busy: dict[str | None, int] = {"0": 0, "1": 0}
    most: dict[str | None, int] = dict(busy)
    met = threading.Barrier(2, timeout=60)

    def fake(task: Task, gpu: str | None) -> None:
        busy[gpu] += 1
        most[gpu] = max(most[gpu], busy[gpu])
        met.wait()  # for the other slot
        busy[gpu] -= 1
        task.folder.mkdir(parents=True)
        (task.folder / "done.json").write_text('{"seconds": null, "commit": "abc"}')

    monkeypatch.setattr(runner, "make", fake)
    run_missing(made_up_jobs(4), rows, ["0", "1"])
    assert most == {"0": 1, "1": 1}
    assert len(rows.path.read_text().splitlines()) == 5


def test_a_row_that_came_meanwhile_is_not_added_twice(rows: Rows) -> None:
    rows.add([({"what": "a"}, {"miou": 1})])
    rows.add([({"what": "a"}, {"miou": 2}), ({"what": "b"}, {"miou": 3})])
    assert rows.path.read_text() == "what,miou,minutes\na,1,\nb,3,\n"


def test_a_commit_of_rows_takes_nothing_else_along(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        done = subprocess.run(["git", *author, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    git("init", "-q")
    git("config", "user.name", "test")
    git("config", "user.email", "test@example.com")
    (tmp_path / "mine").write_text("half done")
    git("add", "mine")
    Rows(tmp_path / "made_up.csv", ("what", "miou"), commit=True).add([({"what": "a"}, {"miou": 1})])
    assert git("log", "--format=%s", "--name-only").split("\n\n") == [
        "Rows of made_up: what=a, miou=1",
        "made_up.csv\n",
    ]
    assert git("status", "--porcelain") == "A  mine\n"


# --- the command and its page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "compare   "),
        ("compare", "| joint, none | 5 |"),
        ("compare table", "| joint, none | 5 |"),
        ("--help", "usage: python -m experiments"),
        ("compair run", "error: no study 'compair'; did you mean 'compare'?"),
        ("determinism run", "0 of 0 jobs have their rows"),
    ],
)
def test_a_study_of_hours_starts_at_the_word_run_alone(
    arguments: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "make", None)
    monkeypatch.setattr(sys, "argv", ["experiments", *arguments.split()])
    monkeypatch.delitem(sys.modules, "experiments.__main__", raising=False)
    with suppress(SystemExit):
        runpy.run_module("experiments", run_name="__main__")
    shown = capsys.readouterr()
    assert said in shown.out + shown.err


def test_the_study_that_the_page_shows_can_be_planned() -> None:
    page = (PROJECT / "docs/experiments.md").read_text()
    (shown,) = re.findall(r"^```python\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    defined: dict[str, Any] = {}
    exec(shown, defined)
    study = defined["STUDY"]
    for job in study.jobs():
        assert plan(job.run, []).stage.name == "evaluate"
        assert all(set(key) <= set(study.columns) for key in job.rows.values())


def test_the_commands_that_pages_show_name_studies() -> None:
    pages = "\n".join(path.read_text() for path in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
    named = re.findall(r"python -m experiments (\S+)", pages)
    assert len(named) > 5
    assert [name for name in named if name.strip("`),.") not in {*STUDIES, "NAME"}] == []
    modules = set(re.findall(r"python -m experiments\.(\w+)", pages))
    assert modules == {"carla_camvid_data", "duplicated_optimizer"}  # the latter in a tree of an old commit


def test_joint_training_stays_where_the_branches_start_from_it() -> None:
    (_, job) = own(["co_train.initialization=both_from_joint"], [0]).jobs()
    assert plan(job.run, []).params["joint"]["iterations"] is None
    assert plan(Run(), []).params["joint"]["iterations"] == 0


def test_scores_are_those_of_the_protocol_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/summary.json").write_text('{"full": {"average": 41.0}, "labeled_images": 15}')
    (tmp_path / "metrics/validation_co_train.csv").write_text("iteration,average_miou\n1,42.0\n")
    assert scores(tmp_path) == {"average": {"miou": 41.0, "best_on_val": 42.0}}
    assert scores_in_one_row(tmp_path) == {"": {"average": 41.0}}


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        ("joint_pair", {"joint": {"iterations": 0}}, "joint.iterations: must not be 0"),
        (
            "joint_pair",
            {"optim": {"ema_decay": 0.0}, "co_train": {"teachers": "branches"}},
            "optim.ema_decay: must be above 0",
        ),
        (
            "mean_teacher",
            {"co_train": {"choose_checkpoint": "best_on_val"}},
            "co_train.choose_checkpoint: must be last",
        ),
    ],
)
def test_what_a_trial_cannot_do_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, change: dict[str, Any], message: str
) -> None:
    params = read_yaml(PROJECT / "params.yaml")
    merge(params, change)
    monkeypatch.chdir(tmp_path)
    YAML(typ="safe").dump(params, Path("params.yaml"))
    with pytest.raises(UserError, match=re.escape(message)):
        import_module(f"experiments.{module}").main()
