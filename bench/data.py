"""Samples for training, from PNG files of the real sets' sizes: GTA5 at 1914x1052 brought to 1280x720, Cityscapes at
2048x1024 brought to 1024x512, crops of 512x512. The straightforward way decodes by Pillow, maps ids by a lookup table,
resizes, crops, and normalizes in float32; ours cuts the crop out of the cache. Both give the same bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.clock import cpu_milliseconds
from bench.rows import Row, times_as_fast
from dstc.core.index import DomainIndex, Entry, digest
from dstc.core.randomness import generator
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, train_ids
from dstc.data.cache import Cache
from dstc.data.loaders import Stream
from dstc.data.prefetch import fill
from dstc.models.normalization import NORMALIZATIONS
from dstc.world.build import render_scene

CROP = (512, 512)
SETS = {"GTA5": ("source", (1914, 1052), (1280, 720)), "Cityscapes": ("target", (2048, 1024), (1024, 512))}
IMAGES = 6
CAFFE = NORMALIZATIONS["caffe_bgr"]
MEAN = np.array(CAFFE.mean, np.float32)


def rows() -> Iterator[Row]:
    torch.set_num_threads(1)
    for name in SETS:
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows_of(name, Path(folder))


def _rows_of(name: str, folder: Path) -> Iterator[Row]:
    domain, on_disk, resize = SETS[name]
    index = _data_set(folder, domain, on_disk, resize)
    cache = Cache(folder / "cache", 10**10)
    direct, cached = (Stream(index, [folder], 1, CROP, held) for held in (None, cache))
    files = list(cached.files_of(index.entries))

    def first_reading() -> None:
        for file in files:
            cache.write(file)

    (first,) = cpu_milliseconds((first_reading, 1), rounds=1)
    fill(cache, files, what=name, workers=1)
    _assert_same_bits(direct, cached, folder)
    position = iter(range(10**9))

    def straightforward() -> object:
        return straightforward_sample(direct, next(position), folder)

    def ours() -> object:
        return CAFFE.apply(cached.crops(next(position), seed=0, name="s")[0])

    def uint8() -> object:
        return cached.crops(next(position), seed=0, name="s")

    slow, fast, bare = cpu_milliseconds((straightforward, 2 * IMAGES), (ours, 200), (uint8, 200))
    yield times_as_fast(f"{name}: a sample, normalized", slow, fast, "ms", at_least=35)
    yield times_as_fast(f"{name}: a sample, normalization left to the device", slow, bare, "ms", at_least=90)
    yield times_as_fast(f"{name}: first reading of a pair (decode, resize, write)", slow, first / len(index), "ms")


def _data_set(folder: Path, domain: str, on_disk: tuple[int, int], resize: tuple[int, int]) -> DomainIndex:
    """Scenes of the built-in data set at another size, with as much noise as makes PNG files of a photo's bytes a pixel."""
    entries = []
    for number in range(IMAGES):
        image, label = render_scene(domain, seed=0, split="train", number=number)
        large = np.asarray(Image.fromarray(image).resize(on_disk, Image.Resampling.BICUBIC)).astype(np.int16)
        noise = np.random.default_rng(number).normal(0, 1.0, large.shape).round().astype(np.int16)
        names = f"{number}.png", f"{number}_label.png"
        Image.fromarray((large + noise).clip(0, 255).astype(np.uint8)).save(folder / names[0])
        Image.fromarray(label).resize(on_disk, Image.Resampling.NEAREST).save(folder / names[1])
        digests = [digest((folder / file).read_bytes()) for file in names]
        entries.append(Entry(names[0], digests[0], *on_disk, names[1], digests[1]))
    ids = train_ids("cityscapes", CITYSCAPES_19)
    return DomainIndex("source", CITYSCAPES_19.names, CITYSCAPES_19.colors, ids, tuple(entries), resize=resize)


def straightforward_sample(stream: Stream, position: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """What a data set class of a few lines does: float32 (3, H, W) BGR minus the mean, and uint8 (H, W)."""
    index, count = stream.index, len(stream.index)
    order = generator(0, "s", "order", position // count).permutation(count)
    entry, size = index.entries[order[position % count]], index.resize
    assert size is not None
    table = np.full(256, IGNORE, np.uint8)
    for id_, train_id in index.label_ids.items():
        if id_ >= 0:
            table[id_] = train_id
    image = Image.open(folder / entry.image).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    label = Image.open(folder / str(entry.label)).resize(size, Image.Resampling.NEAREST)
    pixels, ids = np.asarray(image), np.asarray(label)
    draws = generator(0, "s", "crop", position)
    top = int(draws.integers(pixels.shape[0] - CROP[1] + 1))
    left = int(draws.integers(pixels.shape[1] - CROP[0] + 1))
    window = slice(top, top + CROP[1]), slice(left, left + CROP[0])
    normalized = pixels[window].astype(np.float32)[..., ::-1] - MEAN
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)), table[ids[window]]


def _assert_same_bits(direct: Stream, cached: Stream, folder: Path) -> None:
    for position in range(2 * IMAGES):
        image, label = straightforward_sample(direct, position, folder)
        for stream in (direct, cached):
            images, labels = stream.crops(position, seed=0, name="s")
            assert np.array_equal(CAFFE.apply(images)[0].numpy(), image), position
            assert np.array_equal(labels[0].numpy(), label), position
