from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex, digest, load_index, save_index
from dstc.core.interruption import Interrupted
from dstc.data import data_files
from dstc.data.cache import Cache, array_of, open_cache, taken_by
from dstc.data.data_files import DataFile, ImageFile, image_file, label_file
from dstc.data.loaders import Crops, Stream, ValidationImages, training_batches
from dstc.data.prefetch import fill
from dstc.data.samples import read_pair
from stages import prepare_data
from tests.data.small_domain import image_array, small_domain
from tests.preparation import trees

PLENTY = 10**9


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", PLENTY)


def files_of(index: DomainIndex, root: Path) -> list[DataFile]:
    return [kind(entry, index, [root]) for entry in index.entries for kind in (image_file, label_file)]


def assert_all_served(cache: Cache, files: list[DataFile]) -> None:
    for file in files:
        np.testing.assert_array_equal(cache.read(file), array_of(file, None))


# --- the same to the bit, for every kind of file

Tree = Callable[[Path], tuple[Path, Path, dict[str, object]]]


def gta5_with_a_label_of_another_size(root: Path) -> tuple[Path, Path, dict[str, object]]:
    source = trees.gta5(root / "gta5", 3, size=(240, 120))
    trees.write(source / "labels/00002.png", size=(240, 119), fill=trees.ROAD)
    return source, trees.cityscapes(root / "cityscapes"), {"source.resize": [64, 36], "target.resize": [7, 5]}


def synthia(root: Path) -> tuple[Path, Path, dict[str, object]]:
    changes = {"source.layout": "synthia", "source.resize": [31, 17], "classes": "synthia_16"}
    return trees.synthia(root / "synthia"), trees.cityscapes(root / "cityscapes", labeled=1), changes


def cityscapes_as_it_is(root: Path) -> tuple[Path, Path, dict[str, object]]:
    changes: dict[str, object] = {"source.layout": "cityscapes"}
    return trees.cityscapes(root / "source"), trees.cityscapes(root / "target"), changes


def folders_with_colors_and_odd_sizes(root: Path) -> tuple[Path, Path, dict[str, object]]:
    changes = {
        "source.layout": "folders",
        "target.layout": "csv",
        "classes": "own",
        "own.class_names": ["road", "car"],
        "own.labels": {"road": ["#804080"], "car": ["#00008e"]},
        "own.ignored": ["#000000"],
    }
    colors = np.array([[0x80, 0x40, 0x80], [0, 0, 0x8E], [0, 0, 0]], np.uint8)
    for number, split in enumerate(["train", "train", "val"]):
        height, width = 9 + 4 * number, 14 + 3 * number
        label = colors[np.random.default_rng(number).integers(0, 3, (height, width))]
        for domain in ("source", "target"):
            image = f"{split}/images/{number}.png"
            trees.write_photo(root / domain / image, size=(width, height))
            trees.write(root / domain / f"{split}/labels/{number}.png", label)
    (root / "target/train.csv").write_text("image,label\ntrain/images/0.png,train/labels/0.png\ntrain/images/1.png,\n")
    (root / "target/val.csv").write_text("image,label\nval/images/2.png,val/labels/2.png\n")
    return root / "source", root / "target", changes


@pytest.fixture(
    params=[
        gta5_with_a_label_of_another_size,
        synthia,
        cityscapes_as_it_is,
        folders_with_colors_and_odd_sizes,
    ]
)
def domains(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[DomainIndex, Path]]:
    """Source, target train and target val as prepare_data indexes them, each with its folder."""
    monkeypatch.chdir(tmp_path)
    source, target, changes = request.param(tmp_path)
    prepare_data.prepare(trees.params_for(source, target, data=changes))
    found = [load_index(Path(f"data/index/{name}.json")) for name in ("source", "target_train", "target_val")]
    return list(zip(found, (source, target, target), strict=True))


@pytest.mark.usefixtures("capsys")
def test_pairs_are_the_same_to_the_bit_with_and_without_a_cache_in_every_layout(
    domains: list[tuple[DomainIndex, Path]], cache: Cache
) -> None:
    for index, root in domains:
        for entry in index.entries:
            direct = read_pair(entry, index, [root])
            for _ in range(2):  # before and after it is held
                for ours, expected in zip(read_pair(entry, index, [root], cache), direct, strict=True):
                    if expected is None:
                        assert ours is None
                    else:
                        assert ours is not None and ours.dtype == expected.dtype == np.uint8
                        np.testing.assert_array_equal(ours, expected)
                for file in Stream(index, [root], 1, (1, 1)).files_of([entry]):
                    cache.write(file)


@pytest.mark.parametrize("crop", [(5, 4), (400, 3), (300, 250)])
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_same_with_and_without_a_cache_also_where_images_are_padded(
    domains: list[tuple[DomainIndex, Path]], cache: Cache, crop: tuple[int, int], workers: int
) -> None:
    def batches(cache: Cache | None) -> list[dict[str, Crops]]:
        streams = {index.domain: Stream(index, [root], 2, crop, cache) for index, root in domains}
        return list(training_batches(streams, seed=0, first=1, iterations=4, workers=workers))

    direct, first, again = batches(None), batches(cache), batches(cache)
    for ours in (first, again):
        for one, other in zip(ours, direct, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True))


@pytest.mark.parametrize("own_labels", [True, False])
def test_validation_images_are_the_same_with_and_without_a_cache(
    domains: list[tuple[DomainIndex, Path]], cache: Cache, own_labels: bool
) -> None:
    index, root = domains[2]
    direct = list(ValidationImages(index, [root]).batches(2, 0))
    for _ in range(2):
        cached = list(ValidationImages(index, [root], cache, own_labels).batches(2, 0))
        for (images, labels, own, names), expected in zip(cached, direct, strict=True):
            assert torch.equal(images, expected[0]) and torch.equal(labels, expected[1]) and names == expected[3]
            assert torch.equal(own, expected[2] if own_labels else labels)


def test_what_is_held_is_not_decoded_again(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    index = small_domain(tmp_path, 3, resize=(12, 8))
    expected = [array_of(file, None) for file in files_of(index, tmp_path)]
    fill(cache, files_of(index, tmp_path), what="source", workers=2)
    monkeypatch.setattr(data_files, "decode_image", None)
    monkeypatch.setattr(data_files, "decode_label", None)
    for file, array in zip(files_of(index, tmp_path), expected, strict=True):
        np.testing.assert_array_equal(cache.read(file), array)
    fill(cache, files_of(index, tmp_path), what="source", workers=2)


# --- never stale


def changed_in_place(path: Path) -> None:
    """Other pixels, the same number of bytes, the same time of modification."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("name", ["00.png", "00_label.png"])
def test_a_file_that_changed_after_it_was_cached_is_refused_even_if_its_size_and_mtime_are_the_same(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str, settled: bool
) -> None:
    if settled:
        monkeypatch.setattr(data_files, "COARSEST_CLOCK", 0)
    index = small_domain(tmp_path, 1)
    fill(cache, files_of(index, tmp_path), what="source", workers=0)
    read_pair(index.entries[0], index, [tmp_path], cache)
    time.sleep(0.02)  # a tick of this file system's clock
    changed_in_place(tmp_path / name)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{name}: changed since it was indexed; run `dvc repro -f prepare_data`"):
            read_pair(index.entries[0], index, [tmp_path], cache)


def test_a_cached_file_that_is_gone_is_named(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 1)
    fill(cache, files_of(index, tmp_path), what="source", workers=0)
    (tmp_path / "00.png").unlink()
    with pytest.raises(UserError, match=r"00\.png: No such file.* but the index lists it"):
        read_pair(index.entries[0], index, [tmp_path], cache)


def test_a_changed_file_that_was_indexed_anew_is_decoded_anew(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 1)
    fill(cache, files_of(index, tmp_path), what="source", workers=0)
    Image.fromarray(image_array(200, 16, 24)).save(tmp_path / "00.png")
    entry = replace(index.entries[0], image_digest=digest((tmp_path / "00.png").read_bytes()))
    image, _ = read_pair(entry, index, [tmp_path], cache)
    assert (image[..., 0] == 200).all()


def test_bytes_are_read_again_only_where_the_stamp_differs(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set that was copied or touched is not decoded anew: its bytes are read once, and then its stamp is known."""
    monkeypatch.setattr(data_files, "COARSEST_CLOCK", 0)
    index = small_domain(tmp_path, 1)
    file = image_file(index.entries[0], index, [tmp_path])
    cache.write(file)
    readings: list[Path] = []
    content = DataFile.content
    monkeypatch.setattr(DataFile, "content", lambda self: readings.append(self.path) or content(self))
    cache.read(file)
    assert readings == []
    os.utime(tmp_path / "00.png", (1, 1))
    for _ in range(3):
        np.testing.assert_array_equal(cache.read(file), image_array(0, 16, 24))
    assert readings == [tmp_path / "00.png"]


def test_a_stamp_that_a_change_could_leave_as_it_is_is_not_trusted(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = small_domain(tmp_path, 1)  # written just now, within one tick of a coarse clock
    file = image_file(index.entries[0], index, [tmp_path])
    cache.write(file)
    readings: list[Path] = []
    content = DataFile.content
    monkeypatch.setattr(DataFile, "content", lambda self: readings.append(self.path) or content(self))
    cache.read(file)
    assert len(readings) == 1


def test_other_bytes_sizes_and_meanings_of_labels_have_other_names(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 2)
    relabeled = replace(index, label_ids=index.label_ids | {99: 0})
    resized = replace(index, resize=(9, 7))
    files = [file for one in (index, relabeled, resized) for file in files_of(one, tmp_path)]
    images = {file.key for file in files if isinstance(file, ImageFile)}
    labels = {file.key for file in files if not isinstance(file, ImageFile)}
    assert len(images) == 4  # what labels mean says nothing of images
    assert len(labels) == 6
    assert not images & labels


# --- never half-written


@pytest.mark.parametrize("damage", ["cut short", "empty", "other content"])
def test_a_damaged_array_is_not_served(tmp_path: Path, cache: Cache, damage: str) -> None:
    index = small_domain(tmp_path, 1)
    file = image_file(index.entries[0], index, [tmp_path])
    cache.write(file)
    (held,) = (path for path in cache.folder.glob("??/*"))
    content = held.read_bytes()
    held.write_bytes({"cut short": content[:-1], "empty": b"", "other content": b"x" * len(content)}[damage])
    assert cache.read(file) is None
    np.testing.assert_array_equal(array_of(file, cache), image_array(0, 16, 24))


def test_a_filling_that_is_interrupted_keeps_what_it_has_and_goes_on(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = small_domain(tmp_path, 5)
    files, decoded = files_of(index, tmp_path), []
    write = Cache.write

    def interrupted(self: Cache, file: DataFile) -> None:
        if len(decoded) == 4:
            raise Interrupted(signal.SIGINT)
        decoded.append(file.path)
        write(self, file)

    with monkeypatch.context() as patch:
        patch.setattr(Cache, "write", interrupted)
        with pytest.raises(Interrupted):
            fill(cache, files, what="source", workers=0)
    assert [cache.holds(file) for file in files] == [True] * 4 + [False] * 6
    assert "the same command goes on from there" in capsys.readouterr().out
    cache = Cache(cache.folder, PLENTY)  # as in the next process
    fill(cache, files, what="source", workers=1)
    assert "6 files" in capsys.readouterr().out
    assert_all_served(cache, files)


SLOWLY = """
import sys, time
from pathlib import Path
from dstc.core.index import load_index
from dstc.data.cache import Cache
from dstc.data.data_files import image_file
from dstc.data.prefetch import fill
import numpy as np

root, seconds = Path(sys.argv[1]), float(sys.argv[2])
index = load_index(root / "index.json")
ascontiguousarray = np.ascontiguousarray
def slow(array):
    sys.stdout.write("decoded\\n")
    sys.stdout.flush()
    time.sleep(seconds)
    return ascontiguousarray(array)
np.ascontiguousarray = slow
fill(Cache(root / "cache", 10**9), [image_file(e, index, [root]) for e in index.entries], what="x", workers=2)
"""


def filling_slowly(root: Path, index: DomainIndex, seconds: float) -> subprocess.Popen[str]:
    save_index(index, root / "index.json")
    command = [sys.executable, "-c", SLOWLY, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_filling_leaves_nothing_half_written_and_no_lock(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 20)
    files = [image_file(entry, index, [tmp_path]) for entry in index.entries]
    process = filling_slowly(tmp_path, index, 1.0)
    assert process.stdout is not None
    decoded = [line for line in itertools.islice(process.stdout, 5) if line == "decoded\n"]
    assert len(decoded) == 4, "a line says how many files there are, then one comes for each of them"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (cache.folder / "ab").mkdir(exist_ok=True)
    leftover = cache.folder / f"ab/.{'ab' * 16}.partial"
    leftover.write_bytes(b"half")
    held = sum(cache.holds(file) for file in files)
    assert held < len(files)
    fill(cache, files, what="source", workers=2)
    assert_all_served(cache, files)
    assert list(cache.folder.glob("??/.*")) == []


# --- several at once


def test_two_processes_that_fill_at_once_decode_everything_once(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 8)
    fillers = [filling_slowly(tmp_path, index, 0.1) for _ in range(2)]
    outputs = [filler.communicate()[0] for filler in fillers]
    assert [filler.returncode for filler in fillers] == [0, 0]
    assert sum(output.count("decoded\n") for output in outputs) == 8
    assert sum("another process is filling" in output for output in outputs) <= 1
    assert_all_served(cache, [image_file(entry, index, [tmp_path]) for entry in index.entries])


@pytest.mark.parametrize(("local_rank", "held"), [("0", [True, False]), ("1", [False, False])])
def test_only_the_first_training_process_of_a_machine_fills_also_what_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_rank: str, held: list[bool]
) -> None:
    """Else the second one, which has not asked yet for what the first fills next, would throw that out again."""
    waits: list[bool] = []
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "any_of", waits.append)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    files = files_of(small_domain(tmp_path, 1), tmp_path)
    cache = Cache(tmp_path / "cache", max(map(taken_by, files)))
    fill(cache, files, what="both", workers=0)
    assert [cache.holds(file) for file in files] == held
    assert waits == [False]
    fill(None, files, what="both", workers=0)  # this machine has no cache, another one may have
    assert waits == [False, False]


def test_writers_without_a_lock_do_not_corrupt_each_others_arrays(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 4, size=(300, 200))
    files, wrong = files_of(index, tmp_path), []
    expected = [array_of(file, None) for file in files]

    def write_and_read() -> None:
        for _ in range(5):
            for file, array in zip(files, expected, strict=True):
                cache.write(file)
                found = cache.read(file)
                if found is None or not np.array_equal(found, array):
                    wrong.append(file)

    threads = [threading.Thread(target=write_and_read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- bounded, placed, done without


def held_bytes(cache: Cache) -> int:
    return sum(path.stat().st_size for path in cache.folder.glob("??/*"))


def test_what_does_not_fit_is_decoded_and_the_bound_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = small_domain(tmp_path, 5)
    files = files_of(index, tmp_path)
    for _ in range(2):
        cache = Cache(tmp_path / "cache", sum(map(taken_by, files[:7])) + 10)
        fill(cache, files, what="source", workers=2)
        said = capsys.readouterr().out
        assert "no room for 3 files" in said and "raise runtime.cache_gigabytes" in said
        assert [cache.holds(file) for file in files] == [True] * 7 + [False] * 3
        assert held_bytes(cache) <= cache.limit
    fill(cache, files, what="source", workers=2)
    assert capsys.readouterr().out == ""  # a process asks once
    for file in files:
        np.testing.assert_array_equal(array_of(file, cache), array_of(file, None))


def test_it_says_beforehand_how_many_bytes_it_will_take_and_where(
    tmp_path: Path, cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    index = small_domain(tmp_path, 2, size=(1000, 500))
    fill(cache, files_of(index, tmp_path), what="source", workers=0)
    first_line = capsys.readouterr().out.splitlines()[0]
    assert first_line == f"cache: source: 4 files, 4.0 MB, decoded once into {cache.folder}"
    assert held_bytes(cache) == sum(map(taken_by, files_of(index, tmp_path)))
    assert held_bytes(cache) == 500 * (1000 + 1001) * 4 + 4 * 64


def test_arrays_that_this_process_does_not_read_make_room_the_oldest_first(tmp_path: Path) -> None:
    index = small_domain(tmp_path / "a", 4)
    old, other = files_of(index, tmp_path / "a"), small_domain(tmp_path / "b", 1, size=(20, 10))
    new = files_of(other, tmp_path / "b")
    earlier = Cache(tmp_path / "cache", PLENTY)
    for age, file in enumerate(old):
        fill(earlier, [file], what="a", workers=0)
        os.utime(earlier.folder / file.key[:2] / file.key, (1000 + age, 1000 + age))
    cache = Cache(tmp_path / "cache", held_bytes(earlier))
    fill(cache, [old[0]], what="a", workers=0)  # the oldest, but in use
    fill(cache, new, what="b", workers=0)
    assert all(cache.holds(file) for file in [*new, old[0]])
    kept = [cache.holds(file) for file in old[1:]]
    assert kept == sorted(kept) and not kept[0] and kept[-1]
    assert held_bytes(cache) <= cache.limit


def test_files_of_a_users_own_in_its_folder_are_left_alone(tmp_path: Path) -> None:
    old, new = small_domain(tmp_path / "a", 1), small_domain(tmp_path / "b", 1, size=(20, 10))
    for name in ("ml/thesis.tex", "ab/.notes.partial", f"ab/{'ab' * 16}", f"cd/{'CD' * 16}", "ef/deeper/x", "gh"):
        (tmp_path / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "disk" / name).write_bytes(bytes(10_000))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "disk").rglob("*") if path.is_file()}
    fill(Cache(tmp_path / "disk", PLENTY), files_of(old, tmp_path / "a"), what="a", workers=0)
    cache = Cache(tmp_path / "disk", 1000)
    fill(cache, files_of(new, tmp_path / "b"), what="b", workers=0)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not any(cache.holds(file) for file in files_of(old, tmp_path / "a"))  # those are its own


def test_a_disk_without_locks_is_a_message_that_names_the_parameter(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("dstc.data.cache.fcntl.flock", no_locks)
    with pytest.raises(UserError, match=r"runtime\.cache: .* cannot be written \(No locks available\)"):
        fill(cache, files_of(small_domain(tmp_path, 1), tmp_path), what="source", workers=0)


def test_nine_tenths_of_the_free_disk_are_taken_at_most_however_full_the_disk_is(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = files_of(small_domain(tmp_path, 20), tmp_path)
    free = sum(map(taken_by, files))
    usage = lambda _: type("Usage", (), {"total": 1000 * free, "free": free - held_bytes(cache)})  # noqa: E731
    monkeypatch.setattr("dstc.data.cache.shutil.disk_usage", usage)
    fill(cache, files[:6], what="source", workers=0)
    fill(cache, files, what="source", workers=0)  # what is held already is room of its own
    assert 0.8 * free <= held_bytes(cache) <= 0.9 * free
    assert "no room for" in capsys.readouterr().out


def test_a_disk_that_fills_up_meanwhile_ends_the_filling_and_not_the_run(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    index = small_domain(tmp_path, 2)
    monkeypatch.setattr("dstc.data.cache.os.fsync", full)
    fill(cache, files_of(index, tmp_path), what="source", workers=0)
    assert "takes no more (No space left on device)" in capsys.readouterr().out
    assert held_bytes(cache) == 0


def test_a_place_that_cannot_be_written_is_a_message_that_names_the_parameter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = small_domain(tmp_path, 1)
    with pytest.raises(UserError, match=r"runtime\.cache: .*file/below cannot be written \(Not a directory\)"):
        fill(Cache(tmp_path / "file/below", PLENTY), files_of(index, tmp_path), what="source", workers=0)


def test_a_changed_file_ends_the_filling_with_its_name(tmp_path: Path, cache: Cache) -> None:
    index = small_domain(tmp_path, 3)
    changed_in_place(tmp_path / "01.png")
    with pytest.raises(UserError, match=r"01\.png: changed since it was indexed"):
        fill(cache, files_of(index, tmp_path), what="source", workers=2)


def test_the_cache_lies_in_the_main_repository_or_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert open_cache("auto", 1.5) == Cache(Path(".work/cache"), 1_500_000_000)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert open_cache("auto", 1.5) == Cache(tmp_path / ".work/cache", 1_500_000_000)
    assert open_cache("/big/disk", 1.5) == Cache(Path("/big/disk"), 1_500_000_000)
    assert open_cache("none", 1.5) is None
    assert list(tmp_path.iterdir()) == []  # nothing is made before something is put into it


# --- what is going to be read


def ranges() -> Iterator[range]:
    draws = np.random.default_rng(0)
    for _ in range(60):
        first = int(draws.integers(0, 20))
        yield range(first, first + int(draws.integers(0, 12)))


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_exactly_what_the_iterations_read_is_brought_in(tmp_path: Path, batch: int) -> None:
    stream = Stream(small_domain(tmp_path, 7), [tmp_path], batch, (4, 4))
    for iterations in ranges():
        images = [stream.crops(i, seed=3, name="source")[0][:, 0, 0, 0].tolist() for i in iterations]
        read = sorted({number for numbers in images for number in numbers})
        entries = stream.entries_of(iterations, seed=3, name="source")
        assert [entry.image for entry in entries] == [f"{number:02d}.png" for number in read]
