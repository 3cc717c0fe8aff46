import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dstc.core import places
from dstc.core.index import DomainIndex, Entry, read_split, save_index
from dstc.core.taxonomy import CITYSCAPES_19
from stages import make_split
from tests.preparation import trees

NAMES = [f"leftImg8bit/train/aachen/aachen_{i:06d}_000019_leftImg8bit.png" for i in range(12)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose target has twelve train images with labels, and one without in a further folder."""
    labeled = [Entry(name, "0", 12, 8, name.replace("leftImg8bit", "gtFine"), "1", (1,) * 19) for name in NAMES]
    entries = (*labeled, Entry("more.png", "2", 12, 8, root=1))
    index = DomainIndex("target_train", CITYSCAPES_19.names, CITYSCAPES_19.colors, {7: 0}, entries)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_split"])
    save_index(index, tmp_path / places.INDEX_TARGET_TRAIN)
    return tmp_path


def run(project: Path, **split: Any) -> tuple[list[str], list[str]]:
    YAML(typ="safe").dump(trees.raw_params(split=split), project / "params.yaml")
    make_split.main()
    return read_split(project / "data/split")


def refusal(project: Path, capsys: pytest.CaptureFixture[str], **split: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        run(project, **split)
    assert ended.value.code == 1
    assert not (project / "data/split").exists()
    return capsys.readouterr().err


def test_labeled_and_unlabeled_are_disjoint_and_hold_every_train_image(project: Path) -> None:
    labeled, unlabeled = run(project, size=5)
    assert len(labeled) == 5
    assert set(labeled) <= set(NAMES)
    assert sorted(labeled + unlabeled) == sorted([*NAMES, "unlabeled[0]/more.png"])


def test_splits_of_one_seed_are_nested_and_other_seeds_differ(project: Path) -> None:
    small, large = run(project, size=3)[0], run(project, size=7)[0]
    assert large[:3] == small
    assert run(project, size=7)[0] == large
    assert run(project, size=7, seed=1)[0] != large


def test_all_target_images_can_be_labeled(project: Path) -> None:
    labeled, unlabeled = run(project, size=12)
    assert sorted(labeled) == NAMES
    assert unlabeled == ["unlabeled[0]/more.png"]


def test_more_than_there_are_is_refused_with_their_number(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(project, capsys, size=13)
    assert message == "error: split.size is 13, but only 12 target train images have labels\n"


def test_a_file_of_names_decides_and_the_rest_is_unlabeled(project: Path) -> None:
    (project / "splits").mkdir()
    (project / "splits/mine.txt").write_text("aachen_000007_000019\naachen/aachen_000001_000019.png\n")
    labeled, unlabeled = run(project, size=2, file="mine.txt")
    assert labeled == [NAMES[7], NAMES[1]]
    assert len(unlabeled) == 11


def test_a_size_that_contradicts_the_file_is_refused_with_the_cure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "splits").mkdir()
    (project / "splits/mine.txt").write_text("aachen_000007_000019\n")
    message = refusal(project, capsys, size=5, file="mine.txt")
    assert "split.size is 5, but splits/mine.txt names 1 images" in message
    assert "`-S split.size=1`" in message


def test_without_an_index_the_stage_to_run_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / places.INDEX_TARGET_TRAIN).unlink()
    assert "run `dvc repro prepare_data` first" in refusal(project, capsys, size=2)


def test_the_stage_imports_no_torch() -> None:
    code = "import sys, stages.make_split; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=trees.PROJECT, check=True)


def test_help_prints_what_the_stage_does() -> None:
    command = [sys.executable, "-m", "stages.make_split", "--help"]
    shown = subprocess.run(command, cwd=trees.PROJECT, capture_output=True, text=True, check=True).stdout
    assert "Splits of one split.seed are nested" in " ".join(shown.split())


def test_the_examples_of_the_split_folders_readme_mean_one_image(project: Path) -> None:
    from dstc.split import read_labeled

    text = (trees.PROJECT / "splits/README.md").read_text().split("```")[3]
    (project / "splits").mkdir()
    for line in text.strip().splitlines():
        (project / "splits/one.txt").write_text(line.replace("000000_", "000003_"))
        assert read_labeled(project / "splits", "one.txt", NAMES, []) == [NAMES[3]]


def test_val_images_are_in_neither_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import prepare_data

    trees.gta5(tmp_path / "gta5")
    trees.cityscapes(tmp_path / "cs")
    monkeypatch.chdir(tmp_path)
    prepare_data.prepare(trees.params_for(tmp_path / "gta5", tmp_path / "cs"))
    make_split.make_split(trees.params_for(tmp_path / "gta5", tmp_path / "cs", split={"size": 2}).split)
    labeled, unlabeled = read_split(tmp_path / "data/split")
    assert len(labeled + unlabeled) == 4
    assert all("/train/" in name for name in labeled + unlabeled)
