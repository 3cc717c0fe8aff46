"""An experiment whose trainer and dvc were killed goes on when the same command is typed again: in the workspace, in a
temporary copy, in the queue. Kills at random moments, of `dvc repro`: tests/endurance."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.conftest import Run
from tests.pipeline.project import ROOT, Project
from tests.pipeline.test_reruns import outputs_in_lock, revision_of

STAGE, ITERATIONS, KILLED_IN = "warm_up_target", 12, 6
CHANGE = ("-S", "warm_up.target.learning_rate=0.1", STAGE)
RUN_QUEUE = ("exp", "run", "--run-all", "-j", "1")


@pytest.fixture(scope="module")
def longer(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, str]]:
    """A project whose training takes longer; digests of what the experiment makes when nobody touches it."""
    project = run.project.copy(tmp_path_factory.mktemp("longer"))
    schedule = {"iterations": ITERATIONS, "schedule_iterations": ITERATIONS, "validate_every": ITERATIONS}
    project.edit_params({"warm_up.target": schedule, "runtime": {"checkpoint_every_minutes": 1e-9}})
    project.dvc("repro", STAGE)
    project.commit("a longer training")
    untouched = project.copy(tmp_path_factory.mktemp("untouched"))
    untouched.dvc("exp", "run", "-n", "mine", *CHANGE)
    return project, outputs_in_lock(untouched, revision_of(untouched, "mine"), STAGE)


def run_killed(project: Project, *arguments: str, victims: str) -> None:
    """`dvc ...` in which a kill strikes in the sixth iteration."""
    plan = {"stage": STAGE, "at": "stepping", "nth": KILLED_IN, "delay": 0, "victims": victims}
    note = project.root.parent / "note"
    environment = project.env | {
        "PYTHONPATH": str(ROOT / "tests/endurance/sabotage"),
        "ENDURANCE": json.dumps(plan | {"note": str(note)}),
    }
    subprocess.run(
        ["dvc", *arguments], cwd=project.root, env=environment, capture_output=True, timeout=600, check=False
    )
    assert note.read_text().split()[1] == "0", "nobody was killed"


@pytest.mark.parametrize("form", ["in the workspace", "in a copy", "in the queue"])
def test_the_same_command_again_goes_on_and_ends_with_the_same_bytes(
    longer: tuple[Project, dict[str, str]], tmp_path: Path, form: str
) -> None:
    project, expected = longer[0].copy(tmp_path), longer[1]
    flags = {"in the workspace": (), "in a copy": ("--temp",), "in the queue": ("--queue",)}[form]
    command = ("exp", "run", *flags, "-n", "mine", *CHANGE)
    if form == "in the queue":
        project.dvc(*command)
        run_killed(project, *RUN_QUEUE, victims="trainer")
        project.dvc(*command)
        project.dvc(*RUN_QUEUE)
        said = project.dvc("queue", "logs", "mine").text
    else:
        run_killed(project, *command, victims="both")
        said = project.dvc(*command).text
    went_on = re.search(rf"{STAGE}: resuming from iteration (\d+), saved by an earlier run", said)
    assert went_on, said
    assert int(went_on[1]) >= KILLED_IN - 1
    assert outputs_in_lock(project, revision_of(project, "mine"), STAGE) == expected
    shutil.rmtree(tmp_path)
