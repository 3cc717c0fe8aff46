"""With 20,000 and with 200,000 listed images, a step of each kind in a process of its own: what the pipeline does by name
and size alone. Their files are empty and their index is made up, so nothing is decoded (the groups data and growth do that).
CPU time, and peak memory over what the process held before, for 10,000 images. Limit: nothing grows faster than they do.
`dvc repro` with nothing to do lists 400,000 files besides (images and labels) and has indexes and a split of that size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.clock import slope
from bench.rows import Row, slope_of
from bench.startup import seconds_of
from dstc.core.index import DomainIndex, Entry, load_index, read_split, save_index
from dstc.core.randomness import generator
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.loaders import Stream, ValidationImages
from dstc.preparation.layouts import list_pairs
from dstc.preparation.listing import listing
from dstc.split import choose_labeled, write_split
from tests.pipeline.project import Project, small_project

COUNTS = (20_000, 200_000)
PER = 10_000
STREAM = "unlabeled_target"


def rows() -> Iterator[Row]:
    yield from rows_of(COUNTS)
    yield _nothing_to_do(COUNTS)


def rows_of(counts: Sequence[int]) -> Iterator[Row]:
    """Time and memory of each step, but of dvc."""
    with tempfile.TemporaryDirectory() as folder:
        folders = {count: Path(folder) / str(count) for count in counts}
        for count, root in folders.items():
            write(root, count)
        for what in STEPS:
            found = {count: _measured(what, root) for count, root in folders.items()}
            for measure, unit in (("seconds", "s"), ("megabytes", "MB")):
                yield _grown(f"{what}: {measure}", {count: cost[measure] for count, cost in found.items()}, unit)


def _grown(what: str, costs: dict[int, float], unit: str) -> Row:
    shown = [f"{PER * cost / count:.3g} {unit} ({count})" for count, cost in costs.items()]
    costs = {count: max(cost, 1e-3) for count, cost in costs.items()}  # a cost of nothing has no logarithm
    return slope_of(f"{what} for {PER}", slope(list(costs), list(costs.values())), shown[0], shown[-1], at_most=1.1)


def write(root: Path, count: int) -> None:
    """A data set of empty files in the layout gta5, its index, and a split of it."""
    index = made_index(count)
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for entry in index.entries:
        for name in (entry.image, entry.label):
            (root / str(name)).touch()
    save_index(index, root / "index.json")
    _choose(root, [entry.name for entry in index.entries])


def made_index(count: int) -> DomainIndex:
    """Of so many images that are nowhere."""
    pixels = tuple(range(len(CITYSCAPES_19)))
    entries = tuple(
        Entry(f"images/{number:06d}.png", f"{number:016x}", 1914, 1052, f"labels/{number:06d}.png", "0" * 16, pixels)
        for number in range(count)
    )
    return DomainIndex("source", CITYSCAPES_19.names, CITYSCAPES_19.colors, {7: 0}, entries)


def _choose(root: Path, names: Sequence[str]) -> None:
    write_split(root / "split", *choose_labeled(names, len(names) // 10, generator=generator(0, "split")))


# --- the steps: each prepares, uncounted, what it gives to do


def _listing(root: Path) -> Callable[[], object]:
    return lambda: listing([root / "images", root / "labels"])


def _pairs(root: Path) -> Callable[[], object]:
    return lambda: list_pairs("gta5", root, "train")


def _writing(root: Path) -> Callable[[], object]:
    index = load_index(root / "index.json")
    return lambda: save_index(index, root / "again.json")


def _reading(root: Path) -> Callable[[], object]:
    return lambda: load_index(root / "index.json").pixels_of_class()


def _splitting(root: Path) -> Callable[[], object]:
    names = [entry.name for entry in load_index(root / "index.json").entries]
    return lambda: _choose(root, names)


def _cutting(root: Path) -> Callable[[], object]:
    """What each training does with a split."""
    index = load_index(root / "index.json")

    def cut() -> None:
        labeled, unlabeled = read_split(root / "split")
        index.labeled(labeled)
        index.named(unlabeled).without_labels()

    return cut


def _drawing(root: Path) -> Callable[[], object]:
    """What the loader draws for two epochs, without reading an image; the files that a cache would be asked for."""
    stream = Stream(load_index(root / "index.json"), [root], batch=2, crop=(512, 512))

    def draw() -> None:
        for iteration in range(len(stream.index)):
            stream.image_names(iteration, seed=0, name=STREAM)
        entries = stream.entries_of(range(len(stream.index) // 3), seed=0, name=STREAM)
        for _ in stream.files_of(entries):
            pass

    return draw


def _sharing(root: Path) -> Callable[[], object]:
    images = ValidationImages(load_index(root / "index.json"), [root])
    return lambda: [images.share((number, 8)) for number in range(8)]


STEPS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "list_data": _listing,
    "prepare_data finds pairs": _pairs,
    "an index is written": _writing,
    "an index is read": _reading,
    "a split is drawn and written": _splitting,
    "an index is cut by the split": _cutting,
    "a loader draws two epochs": _drawing,
    "val images are shared by 8": _sharing,
}


def measure(what: str, root: Path) -> dict[str, float]:
    """CPU seconds and megabytes of a step."""
    work = STEPS[what](root)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, began = _kilobytes("VmRSS"), time.process_time()
    kept = work()
    seconds = time.process_time() - began
    del kept
    return {"seconds": seconds, "megabytes": (_kilobytes("VmHWM") - before) / 1000}


def _kilobytes(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def _measured(what: str, root: Path) -> dict[str, float]:
    print(f"bench: {what}, {root.name}", flush=True)
    command = [sys.executable, "-m", "bench.scale", what, str(root)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


# --- dvc


def _nothing_to_do(counts: Sequence[int]) -> Row:
    """In a copy of the project: its outputs are made small by dvc, then grown by hand and noted with `dvc commit`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ours").mkdir()
        project = small_project(Path(folder) / "ours")
        print("bench: dvc repro in a copy of the project", flush=True)
        project.dvc("repro")
        costs = {count: _idle(project, Path(folder) / str(count), count) for count in counts}
    return _grown("dvc repro with nothing to do: seconds", costs, "s")


def _idle(project: Project, images: Path, count: int) -> float:
    write(images, count)
    project.edit_params({"paths": {"unlabeled": [str(images)]}})
    for name in ("source", "target_train"):
        save_index(made_index(count), project.root / f"data/index/{name}.json")
    for file in (images / "split").iterdir():
        file.replace(project.root / "data/split" / file.name)
    project.dvc("repro", "-s", "list_data")
    project.dvc("commit", "-f")
    assert not project.dvc("repro").ran
    (seconds,) = seconds_of((["dvc", "repro", "-q"], str(project.root)), env=project.env)
    return seconds


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
