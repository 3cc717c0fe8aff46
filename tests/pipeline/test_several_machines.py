"""docs/several_gpus.md, its commands as they are printed: a local folder is the DVC remote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pipeline.conftest import Run
from tests.pipeline.project import ALWAYS_RUN, ROOT, Project, Reply
from tests.pipeline.test_reruns import AFTER_SPLIT, assert_trained_on, revision_of, summary_of

PAGE = (ROOT / "docs/several_gpus.md").read_text()


def blocks(title: str) -> list[str]:
    """The code blocks of the page below this heading, up to the next one."""
    (part,) = re.findall(rf"^## {title}$.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def type_in(project: Project, block: str, folder: Path) -> Reply:
    """A block in one shell, the page's places replaced by the test's."""
    places = {"/mnt/dstc": folder / "remote", "https://example.com/dstc.git": folder / "dstc.git"}
    for printed, here in places.items():
        block = block.replace(printed, str(here))
    return project.ok("bash", "-e", "-c", block)


def machine(folder: Path, name: str) -> Project:
    """A machine without a clone, with a state database of its own."""
    (folder / name / "dstc").mkdir(parents=True)
    return Project(folder / name / "dstc")


@pytest.fixture
def shared(project: Project, tmp_path: Path) -> Project:
    """The first machine, its baseline run and pushed."""
    project.ok("git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "dstc.git"))
    project.ok("git", "remote", "add", "origin", str(tmp_path / "dstc.git"))
    project.ok("git", "push", "-q", "-u", "origin", "main")
    type_in(project, blocks("A sweep over several machines")[0], tmp_path)
    return project


@pytest.mark.parametrize("command", [("pull",), ("repro", "--pull")], ids=" ".join)
def test_after_a_clone_and_a_pull_nothing_reruns(shared: Project, tmp_path: Path, command: tuple[str, ...]) -> None:
    other = machine(tmp_path, "other")
    other.ok("git", "clone", "-q", str(tmp_path / "dstc.git"), ".")
    pulled = other.dvc(*command)
    again = other.dvc("repro")
    for reply in (pulled, again):
        assert reply.ran == reply.restored == [], reply.text
    assert again.started == [ALWAYS_RUN]
    assert other.ok("git", "status", "--short").text == ""
    for network in ("warm_up_source/network.pt", "co_train/source_biased.pt", "co_train/target_biased.pt"):
        assert (other.root / "data" / network).read_bytes() == (shared.root / "data" / network).read_bytes()


def test_what_one_machine_has_trained_another_shows_and_does_not_train_again(
    shared: Project, run: Run, tmp_path: Path
) -> None:
    _, on_another, on_any = blocks("A sweep over several machines")
    other = machine(tmp_path, "other")
    clone, rest = on_another.split(" && cd dstc\n")
    type_in(Project(other.root.parent), clone.replace("git clone", "rmdir dstc; git clone"), tmp_path)
    assert type_in(other, rest, tmp_path).ran == AFTER_SPLIT

    type_in(shared, on_any, tmp_path)
    assert summary_of(shared, revision_of(shared, "six"))["labeled_images"] == 6
    shared.dvc("exp", "apply", "six")
    assert_trained_on(shared, 6)
    network = "data/co_train/source_biased.pt"
    assert (shared.root / network).read_bytes() != (run.project.root / network).read_bytes()

    third = machine(tmp_path, "third")
    third.ok("git", "clone", "-q", str(tmp_path / "dstc.git"), ".")
    reply = third.dvc("exp", "run", "--pull", "-S", "split.size=6", "-S", "evaluate.pictures=0")
    assert reply.ran == ["evaluate", "report"]
    assert reply.restored == ["make_split", "warm_up_target", "joint", "co_train"]
    assert (third.root / network).read_bytes() == (shared.root / network).read_bytes()


def test_two_experiments_at_once_have_their_own_results(project: Project, tmp_path: Path) -> None:
    """Each on a GPU of its own, where there is one: the variable changes nothing here."""
    (block,) = blocks("A sweep over several GPUs")
    assert re.findall(r"CUDA_VISIBLE_DEVICES=(\d)", block) == ["0", "1"]
    reply = type_in(project, block, tmp_path)
    stages = ["warm_up_source", "warm_up_target", "joint", "co_train", "evaluate", "report"]
    assert sorted(reply.ran) == sorted(2 * stages)
    for name, seed in (("one", 1), ("two", 2)):
        params = project.ok("git", "show", f"{revision_of(project, name)}:params.yaml").text
        assert f"\nseed: {seed} " in params
    assert project.ok("git", "status", "--short").text == ""
    assert project.dvc("repro").ran == []
