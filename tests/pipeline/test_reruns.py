"""What reruns when something changes, with the real `dvc`: the table of the pipeline's edges."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Change, Run
from tests.pipeline.project import ALWAYS_RUN, ROOT, STAGES, Project

AFTER_SPLIT = ["make_split", "warm_up_target", "joint", "co_train", "evaluate", "report"]


def assert_trained_on(project: Project, images: int) -> None:
    assert len((project.root / "data/split/labeled.txt").read_text().splitlines()) == images
    assert project.description("data/warm_up_target/network.pt")["data"]["target"]["images"] == images
    assert json.loads((project.root / "metrics/summary.json").read_text())["labeled_images"] == images


def summary_of(project: Project, experiment: str) -> dict[str, object]:
    return json.loads(project.ok("git", "show", f"{experiment}:metrics/summary.json").text)


def revision_of(project: Project, name: str) -> str:
    references = project.ok("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").text.splitlines()
    return next(line.split()[0] for line in references if line.endswith(f"/{name}"))


def outputs_in_lock(project: Project, revision: str, stage: str) -> dict[str, str]:
    lock = YAML(typ="safe").load(project.ok("git", "show", f"{revision}:dvc.lock").text)
    return {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}


def test_the_first_repro_runs_all_stages_in_order(run: Run) -> None:
    assert run.first.started == list(STAGES)


def test_a_second_repro_lists_the_data_and_runs_nothing_else(run: Run) -> None:
    assert run.second.started == [ALWAYS_RUN]
    assert run.second.restored == []
    assert "Stage 'report' didn't change, skipping" in run.second.text


def test_a_committed_run_leaves_a_clean_tree_and_no_network_or_picture_in_git(project: Project) -> None:
    project.dvc("repro")
    assert project.ok("git", "status", "--short").text == ""
    tracked = project.ok("git", "ls-files").text.split()
    assert "metrics/summary.json" in tracked
    assert [name for name in tracked if name.endswith((".pt", ".png")) and not name.startswith("docs/")] == []


# --- the number of labeled images


def test_another_number_of_labeled_images_reruns_what_sees_them_and_nothing_else(six_labeled: Change) -> None:
    assert six_labeled.reply.ran == AFTER_SPLIT
    assert six_labeled.reply.restored == []


def test_another_number_of_labeled_images_is_what_was_trained_on(run: Run, six_labeled: Change) -> None:
    assert_trained_on(run.project, 4)
    assert_trained_on(six_labeled.project, 6)
    assert summary_of(six_labeled.project, revision_of(six_labeled.project, "six"))["labeled_images"] == 6


def test_back_and_forth_between_two_numbers_trains_nothing_and_gives_the_right_networks(
    run: Run, six_labeled: Change, project_at_six: Project
) -> None:
    """4 was run, then 6; now 4 again in the workspace, and 6 again in a temporary copy, which leaves the workspace be."""
    project = project_at_six
    back = project.dvc("exp", "run", "-n", "four", "-S", "split.size=4")
    forth = project.dvc("exp", "run", "--temp", "-n", "six_again", "-S", "split.size=6", "-S", "evaluate.pictures=0")
    for reply in (back, forth):
        assert reply.ran == ["evaluate", "report"]
        assert reply.restored == ["make_split", "warm_up_target", "joint", "co_train"]
    assert_trained_on(project, 4)
    revision = revision_of(project, "six_again")
    assert summary_of(project, revision)["labeled_images"] == 6
    for stage in ("make_split", "warm_up_target", "joint", "co_train"):
        assert outputs_in_lock(project, "HEAD", stage) == outputs_in_lock(run.project, "HEAD", stage)
        assert outputs_in_lock(project, revision, stage) == outputs_in_lock(
            six_labeled.project, revision_of(six_labeled.project, "six"), stage
        )
        assert outputs_in_lock(project, revision, stage) != outputs_in_lock(project, "HEAD", stage)
    for network in ("warm_up_target/network.pt", "co_train/source_biased.pt", "co_train/target_biased.pt"):
        assert (project.root / "data" / network).read_bytes() == (run.project.root / "data" / network).read_bytes()


def test_a_queued_experiment_reruns_what_it_changes_and_has_its_own_results(project_at_six: Project) -> None:
    """The table's row `-S seed=1`, in the queue, with a number of labeled images that was run before. That make_split
    is restored shows that its key in the run cache does not hold the seed."""
    project = project_at_six
    project.ok("git", "checkout", "-q", "--", ".")
    project.dvc("checkout", "-q")
    project.dvc("exp", "run", "--queue", "-n", "other_seed", "-S", "seed=1", "-S", "split.size=6")
    project.dvc("exp", "run", "--run-all", "-j", "1")
    reply = project.dvc("queue", "logs", "other_seed")
    assert reply.ran == ["warm_up_source", "warm_up_target", "joint", "co_train", "evaluate", "report"], reply.text
    assert reply.restored == ["make_split"]
    assert summary_of(project, revision_of(project, "other_seed"))["labeled_images"] == 6
    assert_trained_on(project, 4)


# --- other parameters


def test_a_parameter_of_co_training_reruns_co_training_and_what_follows(project: Project) -> None:
    reply = project.dvc("exp", "run", "-S", "co_train.alignment_weight=0.2")
    assert reply.ran == ["co_train", "evaluate", "report"]
    assert reply.restored == []


def test_a_length_of_the_pipeline_reruns_joint_training_which_has_as_many_iterations(project: Project) -> None:
    reply = project.dvc("exp", "run", "-S", "co_train.iterations=3", "-S", "co_train.schedule_iterations=null")
    assert reply.ran == ["joint", "co_train", "evaluate", "report"]
    assert project.description("data/joint/network.pt")["schedule"]["iterations"] == 2 + 2 + 3
    project.edit_params({"joint": {"iterations": 4}})
    project.dvc("repro")
    reply = project.dvc("exp", "run", "-S", "co_train.iterations=2")
    assert reply.ran == ["joint", "co_train", "evaluate", "report"]  # DVC cannot know that a number needs no sum ...
    assert project.description("data/joint/network.pt")["schedule"]["iterations"] == 4


def test_a_parameter_of_joint_training_reruns_it_and_what_may_start_from_it(project: Project) -> None:
    trained = (project.root / "data/co_train/source_biased.pt").read_bytes()
    reply = project.dvc("exp", "run", "-S", "joint.learning_rate=0.1")
    assert reply.ran == ["joint", "co_train", "evaluate", "report"]
    assert (project.root / "data/co_train/source_biased.pt").read_bytes() == trained


def test_joint_training_can_be_left_out_and_taken_in_again_without_training_the_rest_anew(project: Project) -> None:
    """By the commands that docs/pipeline.md shows: dvc would rerun co_train, whose start it might be."""
    page = (ROOT / "docs/pipeline.md").read_text()
    (command,) = re.findall(r"^dvc repro joint && (.+) && dvc repro$", page, re.MULTILINE)
    before = (project.root / "metrics/summary.json").read_bytes()
    for iterations in (0, None):
        project.edit_params({"joint": {"iterations": iterations}})
        project.dvc("repro", "joint")
        project.ok(*command.split())
        reply = project.dvc("repro")
        assert reply.ran == ["evaluate", "report"]
        summary, text = (project.root / f"metrics/{name}" for name in ("summary.json", "report.html"))
        assert ("joint" in json.loads(summary.read_text())["half"]) == (iterations is None)
        assert ("Joint training was left out" in reply.text) == ("Joint training was left out" in text.read_text())
        assert ("Joint training was left out" in reply.text) == (iterations == 0)
        project.dvc("plots", "show")
    assert summary.read_bytes() == before


def test_co_training_can_start_both_branches_from_joint_training(project: Project) -> None:
    reply = project.dvc("exp", "run", "-S", "co_train.initialization=both_from_joint")
    assert reply.ran == ["co_train", "evaluate", "report"]
    inputs = project.description("data/co_train/target_biased.pt")["inputs"]
    assert "data/joint/network.pt" in inputs
    refused = project.call("dvc", "exp", "run", "-S", "joint.iterations=0")
    assert (
        "co_train.initialization 'both_from_joint' starts from joint training, which joint.iterations 0" in refused.text
    )


def test_a_parameter_of_evaluation_reruns_evaluation_and_the_report_alone(project: Project) -> None:
    reply = project.dvc("exp", "run", "-S", "evaluate.pictures=2")
    assert reply.ran == ["evaluate", "report"]
    assert len(list((project.root / "metrics/pictures").rglob("*.png"))) == 2


def test_the_number_of_workers_reruns_nothing(project: Project) -> None:
    project.edit_params({"runtime": {"workers": 1, "threads": 2, "device": "auto"}})
    reply = project.dvc("repro")
    assert reply.ran == reply.restored == []


def test_exp_run_keeps_the_comments_of_params_yaml(run: Run, six_labeled: Change) -> None:
    def comments(project: Project) -> list[str]:
        lines = (project.root / "params.yaml").read_text().splitlines()
        return [line.partition("#")[2].strip() for line in lines if "#" in line]

    assert comments(six_labeled.project) == comments(run.project)


# --- code


def comment_in(project: Project, file: str) -> None:
    with (project.root / file).open("a") as code:
        code.write("# changed\n")


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("dstc/config/params.py", []),
        ("dstc/predict.py", []),
        ("dstc/reporting/page.py", ["report"]),
        ("dstc/evaluation/tables.py", ["evaluate"]),
        ("dstc/method/class_mix.py", ["co_train"]),
        ("dstc/co_training/step.py", ["co_train"]),
        ("dstc/models/backbones.py", ["warm_up_source", "warm_up_target", "joint", "co_train", "evaluate"]),
        ("dstc/world/build.py", ["prepare_data"]),
        ("dstc/split.py", ["make_split"]),
        ("dstc/core/errors.py", [stage for stage in STAGES if stage != ALWAYS_RUN]),
    ],
)
def test_an_edited_file_reruns_the_stages_whose_result_it_can_change(
    project: Project, file: str, stages: list[str]
) -> None:
    """A dry run names those that depend on it; what follows a stage runs where its outputs differ, see the next test."""
    comment_in(project, file)
    assert project.dvc("repro", "--dry").ran == stages


def test_code_that_renders_the_same_bytes_reruns_the_rendering_alone(project: Project) -> None:
    comment_in(project, "dstc/world/build.py")
    assert project.dvc("repro").ran == ["prepare_data"]


# --- what people look at


def test_metrics_params_and_experiments_are_shown_by_name(project_at_six: Project) -> None:
    project = project_at_six
    differing = project.dvc("metrics", "diff", "--all").text
    for row in ("half.source_biased", "half.target_biased", "half.average", "full.average", "labeled_images"):
        assert row in differing
    changed = [line.split() for line in project.dvc("params", "diff").text.splitlines()]
    assert ["params.yaml", "split.size", "4", "6"] in changed
    assert len(changed) == 2  # a heading and the one change
    shown = project.dvc("exp", "show", "--csv").text
    assert "six" in shown
    assert "split.size" in shown.splitlines()[0]
    assert "half.average" in shown.splitlines()[0]


def test_the_command_that_evaluate_prints_shows_experiments_in_120_columns(
    six_labeled: Change, project_at_six: Project
) -> None:
    """Cut columns and cells would end in an ellipsis; a pager, which scrolls, cuts none."""
    (command,) = re.findall(r"^dvc exp show .+$", six_labeled.reply.text, re.MULTILINE)
    assert len(command) <= 120
    lines = project_at_six.ok("sh", "-c", f"COLUMNS=120 {command} --no-pager").text.splitlines()
    assert max(map(len, lines)) <= 120
    assert "…" not in "".join(lines)
    assert lines[1].split() == ["Experiment", "half.joint", "half.average", "split.size"]
    assert any("[six]" in line and line.split()[-1] == "6" for line in lines)


def test_the_report_names_the_experiment_and_the_commit_of_the_code(run: Run, project_at_six: Project) -> None:
    commit = run.project.ok("git", "rev-list", "--max-parents=0", "--abbrev-commit", "HEAD").text.strip()
    for project, experiment in ((run.project, ""), (project_at_six, "<dt>experiment</dt><dd>six</dd>")):
        text = (project.root / "metrics/report.html").read_text()
        assert f"<dt>commit</dt><dd>{commit}</dd>" in text
        assert ("<dt>experiment</dt>" in text) == bool(experiment)
        assert experiment in text


def test_in_a_clone_without_pictures_the_plots_that_troubleshooting_names_are_compared_without_a_warning(
    project_at_six: Project, tmp_path: Path
) -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    (command,) = re.findall(r"^dvc plots diff .+$", page, re.MULTILINE)
    project_at_six.commit("six")
    project_at_six.ok("git", "clone", "-q", str(project_at_six.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert "failed to load some plots" in clone.dvc("plots", "diff", "HEAD~1").text
    reply = clone.ok("sh", "-c", command)
    assert len(reply.text.splitlines()) == 1  # the page's address
    assert (clone.root / "dvc_plots/index.html").is_file()


def test_plots_are_shown_and_compared_under_their_titles(project_at_six: Project, tmp_path: Path) -> None:
    project = project_at_six
    project.dvc("plots", "show", "-o", str(tmp_path / "show"))
    project.dvc("plots", "diff", "-o", str(tmp_path / "diff"), "HEAD", "workspace")
    plots = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
    titles = [title for plot in plots if isinstance(plot, dict) for title in plot]
    assert len(titles) == 10
    for kind in ("show", "diff"):
        page = (tmp_path / kind / "index.html").read_text()
        scripts = re.findall(r'src="(https?://[^/]+)/', page)
        assert set(scripts) == {"https://cdn.jsdelivr.net"}  # as docs/pipeline.md says
        assert [title for title in titles if title not in page] == []
        assert list((tmp_path / kind / "static").rglob("*.png"))
