"""README's picture: panels of what a run draws, in one strip."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs import strip
from dstc.label_maps.pictures import save_grid
from tests.pipeline.project import ROOT

TITLES = ("input", "truth", "warm-up source", "warm-up target", "joint training", "average of branches")


def drawn(folder: Path, name: str, titles: tuple[str, ...] = TITLES) -> Path:
    """A picture as the stage evaluate draws it; each panel has a gray of its own."""
    save_grid(folder / name, [(title, np.full((128, 256, 3), 40 * i, np.uint8)) for i, title in enumerate(titles)])
    return folder / name


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: Path) -> None:
    monkeypatch.chdir(folder)
    (folder / "docs").mkdir(exist_ok=True)
    monkeypatch.setattr(sys, "argv", ["docs.strip", *map(str, arguments)])
    strip.main()


def test_each_picture_is_a_row_of_image_truth_warm_up_joint_and_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, tmp_path, drawn(tmp_path, "a.png"), drawn(tmp_path, "b.png"))
    with Image.open(tmp_path / "docs/strip.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rows = [pixels[top, 100::264, 0][:5].tolist() for top in (90, 250)]
    assert rows == [[0, 40, 120, 160, 200]] * 2


def test_without_arguments_the_first_two_pictures_of_the_run_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics/pictures").mkdir(parents=True)
    for name in ("c.png", "a.png", "b.png"):
        drawn(tmp_path / "metrics/pictures", name)
    run(monkeypatch, tmp_path)
    by_default = (tmp_path / "docs/strip.png").read_bytes()
    run(monkeypatch, tmp_path, *(tmp_path / f"metrics/pictures/{name}.png" for name in "ab"))
    assert (tmp_path / "docs/strip.png").read_bytes() == by_default


def test_a_picture_without_the_panels_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = drawn(tmp_path, "a.png", TITLES[:2])
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, path)
    assert f"{path}: has no panel 'average of branches'" in capsys.readouterr().err
    assert not (tmp_path / "docs/strip.png").exists()


def test_what_is_no_picture_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, tmp_path / "a.png")
    assert f"{tmp_path / 'a.png'}: cannot be read" in capsys.readouterr().err


def test_the_committed_strip_is_small_enough_for_a_readme() -> None:
    path = ROOT / "docs/strip.png"
    assert path.stat().st_size <= 150_000
    with Image.open(path) as picture:
        assert 1000 <= picture.width <= 1400
