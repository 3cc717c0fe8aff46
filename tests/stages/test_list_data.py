from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages import list_data
from tests.preparation import trees


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any] | None = None, **paths: Any) -> str:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["list_data"])
    YAML(typ="safe").dump(trees.raw_params(paths=paths, model=model or {}), folder / "params.yaml")
    list_data.main()
    return (folder / "data/listing.txt").read_text()


def test_the_embedded_world_has_the_same_listing_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.gta5(tmp_path / "data/world/gta5")
    digest = "cae66941d9efbd404e4d88758ea67670"  # of nothing; it stands in the committed dvc.lock
    assert listed(tmp_path, monkeypatch, source="embedded", target="embedded") == (
        f"0 data files outside the project; digest of their names, sizes and times: {digest}\n"
    )


def test_source_target_and_further_folders_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = trees.gta5(tmp_path / "gta5", 3)
    target = trees.cityscapes(tmp_path / "cs", train=4, val=2)
    trees.write(tmp_path / "more/anywhere/1.png")
    files = sum(path.is_file() for folder in ("gta5", "cs") for path in (tmp_path / folder).rglob("*"))
    paths = {"source": str(source), "target": str(target)}
    assert listed(tmp_path, monkeypatch, **paths, unlabeled=[]).startswith(f"{files} data files")
    assert listed(tmp_path, monkeypatch, **paths, unlabeled=[str(tmp_path / "more")]).startswith(
        f"{files + 1} data files"
    )


def test_initial_weights_of_a_file_are_told_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(weights: str) -> str:
        listed(tmp_path, monkeypatch, model={"initial_weights": weights}, source="embedded", target="embedded")
        return (tmp_path / "data/initial_weights.txt").read_text()

    one, same, other = (tmp_path / name for name in ("one.pth", "same.pth", "other.pth"))
    for path, content in ((one, b"1"), (same, b"1"), (other, b"2")):
        path.write_bytes(content)
    assert told("none") == "initial weights: of no file\n"
    assert told(str(tmp_path / "gone.pth")) == "initial weights: the file is missing\n"
    assert told(str(one)) == told(str(same)) != told(str(other))


def test_a_missing_folder_is_left_to_prepare_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(tmp_path, monkeypatch, source="/nowhere", target="/nowhere/else").startswith("0 data files")
