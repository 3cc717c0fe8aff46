"""Endless, seeded, resumable batches: what iteration i sees is a function of (seed, i) alone.

So any number of worker processes, and a run that starts at a later iteration, give the same batches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dstc.core.index import DomainIndex, Entry
from dstc.core.randomness import generator
from dstc.core.taxonomy import IGNORE
from dstc.core.workers import read_ahead
from dstc.data.cache import Cache, array_of
from dstc.data.data_files import DataFile, image_file, label_file
from dstc.data.prefetch import fill
from dstc.data.samples import crop_pair, read_pair

# images uint8 (N, H, W, 3) RGB, labels uint8 (N, H, W); an unlabeled image's label is void in its padding, 0 elsewhere
Crops = tuple[Tensor, Tensor]
# (number, of so many): which part of each batch, or of the val images, this process reads
Share = tuple[int, int]
WHOLE: Share = (0, 1)


@dataclass(frozen=True)
class Stream:
    """Where one part of each batch comes from: `batch` random crops of the images of `index`, epoch by epoch, shuffled.

    No batch before that of `first_iteration` has this part; the others are the same whatever it is.
    """

    index: DomainIndex
    roots: Sequence[Path]
    batch: int
    crop: Sequence[int]  # (width, height)
    cache: Cache | None = None
    first_iteration: int = 0

    def crops(self, iteration: int, *, seed: int, name: str, share: Share = WHOLE) -> Crops:
        """This share of the batch of an iteration."""
        number, shares = share
        positions = range(iteration * self.batch, (iteration + 1) * self.batch)
        positions = positions[len(positions) * number // shares : len(positions) * (number + 1) // shares]
        samples = [self._sample(position, seed=seed, name=name) for position in positions]
        images, labels = zip(*samples, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

    def image_names(self, iteration: int, *, seed: int, name: str) -> list[str]:
        """The names of the images that `crops` cuts from."""
        positions = range(iteration * self.batch, (iteration + 1) * self.batch)
        return [self._entry(position, seed=seed, name=name).name for position in positions]

    def _entry(self, position: int, *, seed: int, name: str) -> Entry:
        epoch, offset = divmod(position, len(self.index))
        return self.index.entries[_order(seed, name, epoch, len(self.index))[offset]]

    def _sample(self, position: int, *, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        entry = self._entry(position, seed=seed, name=name)
        image, label = read_pair(entry, self.index, self.roots, self.cache)
        draws = generator(seed, name, "crop", position)
        return crop_pair(image, label, self.crop, fill=IGNORE, generator=draws)

    def entries_of(self, iterations: range, *, seed: int, name: str) -> list[Entry]:
        """The entries that these iterations read, each once, in the order of the index."""
        count = len(self.index)
        first, end = max(iterations.start, self.first_iteration) * self.batch, iterations.stop * self.batch
        if end - first >= 2 * count:
            return list(self.index.entries)  # an epoch at least lies in between
        numbers = {
            number
            for epoch in range(first // count, -(-end // count))
            for number in _order(seed, name, epoch, count)[max(first - epoch * count, 0) : end - epoch * count].tolist()
        }
        return [self.index.entries[number] for number in sorted(numbers)]

    def files_of(self, entries: Iterable[Entry]) -> Iterator[DataFile]:
        """The files of which `crops` takes the entries."""
        for entry in entries:
            yield image_file(entry, self.index, self.roots)
            if entry.label is not None:
                yield label_file(entry, self.index, self.roots)


@functools.lru_cache(maxsize=16)
def _order(seed: int, name: str, epoch: int, count: int) -> np.ndarray:
    return generator(seed, name, "order", epoch).permutation(count)


def _used(streams: Mapping[str, Stream], iteration: int) -> dict[str, Stream]:
    return {name: stream for name, stream in streams.items() if iteration >= stream.first_iteration}


def training_batches(
    streams: Mapping[str, Stream], *, seed: int, first: int, iterations: int, workers: int, share: Share = WHOLE
) -> Iterator[dict[str, Crops]]:
    """The batches of iterations first..iterations-1, in order, read ahead by `workers` processes (0: in this one).

    What they read is brought into the streams' caches first, before this returns.
    """
    for name, stream in streams.items():
        entries = stream.entries_of(range(first, iterations), seed=seed, name=name)
        fill(stream.cache, stream.files_of(entries), what=name, workers=workers)

    def read(iteration: int) -> dict[str, list[np.ndarray]]:
        used = _used(streams, iteration).items()
        return {
            name: [part.numpy() for part in stream.crops(iteration, seed=seed, name=name, share=share)]
            for name, stream in used
        }

    return map(_tensors, read_ahead(read, range(first, iterations), workers, what="training images"))


def _tensors(batch: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Crops]:
    return {name: (torch.from_numpy(images), torch.from_numpy(labels)) for name, (images, labels) in batch.items()}


def image_names(streams: Mapping[str, Stream], iteration: int, *, seed: int) -> dict[str, list[str]]:
    """The names of the images in an iteration's batch, by stream."""
    used = _used(streams, iteration).items()
    return {name: stream.image_names(iteration, seed=seed, name=name) for name, stream in used}


@dataclass(frozen=True)
class ValidationImages:
    """Item i: image uint8 (H, W, 3), its label at the image's size and at the size on disk, both uint8.

    Without `own_labels`, which takes reading them, the second label is the first. Where the index has no labels, both are
    void.
    """

    index: DomainIndex
    roots: Sequence[Path]
    cache: Cache | None = None
    own_labels: bool = True

    def __len__(self) -> int:
        return len(self.index)

    @property
    def most_pixels(self) -> int:
        """Of an image, as it is seen."""
        sizes = (self.index.resize or (entry.width, entry.height) for entry in self.index.entries)
        return max(map(math.prod, sizes), default=1)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, *labels = (array_of(file, self.cache) for file in self._files(position))
        label = labels[0] if labels else np.full(image.shape[:2], IGNORE, np.uint8)
        return image, label, labels[-1] if labels else label

    def _files(self, position: int) -> Iterator[DataFile]:
        entry = self.index.entries[position]
        yield image_file(entry, self.index, self.roots)
        if entry.label is None:
            return
        yield label_file(entry, self.index, self.roots)
        if self.own_labels and self.index.resize is not None:
            yield label_file(entry, self.index, self.roots, own_size=True)

    def warm_cache(self, workers: int) -> None:
        """Decode into the cache what it lacks; `batches` does so too, but in the midst of a training."""
        files = (file for position in range(len(self)) for file in self._files(position))
        fill(self.cache, files, what=self.index.domain, workers=workers)

    def share(self, share: Share) -> ValidationImages:
        """Every n-th image: together the shares hold each once."""
        number, shares = share
        return replace(self, index=replace(self.index, entries=self.index.entries[number::shares]))

    def batches(self, size: int, workers: int) -> Iterator[tuple[Tensor, Tensor, Tensor, list[str]]]:
        """Images (N, H, W, 3), labels (N, H, W), labels at their own size, names: in order, runs of up to `size` images
        that agree in their sizes."""
        self.warm_cache(workers)
        pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        done = 0
        for sample in read_ahead(self.__getitem__, range(len(self)), workers, what="val images"):
            fits = not pending or all(a.shape == b.shape for a, b in zip(sample, pending[0], strict=True))
            if pending and (not fits or len(pending) == size):
                yield self._stacked(pending, done)
                done += len(pending)
                pending = []
            pending.append(sample)
        if pending:
            yield self._stacked(pending, done)

    def _stacked(
        self, samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]], first: int
    ) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        images, labels, own = (torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))
        return images, labels, own, [entry.name for entry in self.index.entries[first : first + len(samples)]]
