"""Endless, seeded, resumable batches: what iteration i sees is a function of (seed, i) alone.

So any number of worker processes, and a run that starts at a later iteration, give the same batches.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dstc.core.errors import UserError
from dstc.core.index import DomainIndex, Entry
from dstc.core.randomness import generator
from dstc.core.taxonomy import IGNORE
from dstc.data.cache import Cache, array_of
from dstc.data.data_files import DataFile, image_file, label_file
from dstc.data.prefetch import fill
from dstc.data.samples import crop_pair, read_pair

# images uint8 (N, H, W, 3) RGB, labels uint8 (N, H, W); an unlabeled image's label is void throughout
Crops = tuple[Tensor, Tensor]
# (number, of so many): which part of each batch, or of the val images, this process reads
Share = tuple[int, int]
WHOLE: Share = (0, 1)


@dataclass(frozen=True)
class Stream:
    """Where one part of each batch comes from: `batch` random crops of the images of `index`, epoch by epoch, shuffled."""

    index: DomainIndex
    roots: Sequence[Path]
    batch: int
    crop: Sequence[int]  # (width, height)
    cache: Cache | None = None

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
        first, end = iterations.start * self.batch, iterations.stop * self.batch
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


class _Iterations(Dataset[dict[str, Crops]]):
    """Item i is the whole batch of iteration i, or a share of it, one entry for each stream."""

    def __init__(self, streams: Mapping[str, Stream], seed: int, share: Share) -> None:
        self.streams, self.seed, self.share = dict(streams), seed, share

    def __getitem__(self, iteration: int) -> dict[str, Crops]:
        return {
            name: stream.crops(iteration, seed=self.seed, name=name, share=self.share)
            for name, stream in self.streams.items()
        }


def training_batches(
    streams: Mapping[str, Stream], *, seed: int, first: int, iterations: int, workers: int, share: Share = WHOLE
) -> Iterator[dict[str, Crops]]:
    """The batches of iterations first..iterations-1, in order, read ahead by `workers` processes (0: in this one).

    What they read is brought into the streams' caches first, before this returns.
    """
    for name, stream in streams.items():
        entries = stream.entries_of(range(first, iterations), seed=seed, name=name)
        fill(stream.cache, stream.files_of(entries), what=name, workers=workers)
    return _loader(_Iterations(streams, seed, share), range(first, iterations), workers)


def image_names(streams: Mapping[str, Stream], iteration: int, *, seed: int) -> dict[str, list[str]]:
    """The names of the images in an iteration's batch, by stream."""
    return {name: stream.image_names(iteration, seed=seed, name=name) for name, stream in streams.items()}


@dataclass(frozen=True)
class ValidationImages(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Item i: image uint8 (H, W, 3), its label at the image's size and at the size on disk, both uint8.

    Without `own_labels`, which takes reading them, the second label is the first.
    """

    index: DomainIndex
    roots: Sequence[Path]
    cache: Cache | None = None
    own_labels: bool = True

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        image, label, *own = (torch.tensor(array_of(file, self.cache)) for file in self._files(position))
        return image, label, own[0] if own else label

    def _files(self, position: int) -> Iterator[DataFile]:
        entry = self.index.entries[position]
        yield image_file(entry, self.index, self.roots)
        yield label_file(entry, self.index, self.roots)
        if self.own_labels and self.index.resize is not None:
            yield label_file(entry, self.index, self.roots, own_size=True)

    def warm_cache(self, workers: int) -> None:
        """Decode into the cache what it lacks; `batches` does so too, but in the midst of a training."""
        files = (file for position in range(len(self)) for file in self._files(position))
        fill(self.cache, files, what=self.index.domain, workers=workers)

    def share(self, share: Share) -> ValidationImages:
        """Every so manieth image: together the shares hold each once."""
        number, shares = share
        return replace(self, index=replace(self.index, entries=self.index.entries[number::shares]))

    def batches(self, size: int, workers: int) -> Iterator[tuple[Tensor, Tensor, Tensor, list[str]]]:
        """Images (N, H, W, 3), labels (N, H, W), labels at their own size, names: in order, runs of up to `size` images
        that agree in their sizes."""
        self.warm_cache(workers)
        loader = _loader(self, range(len(self)), workers)
        pending: list[tuple[Tensor, Tensor, Tensor]] = []
        done = 0
        for sample in loader:
            fits = not pending or all(a.shape == b.shape for a, b in zip(sample, pending[0], strict=True))
            if pending and (not fits or len(pending) == size):
                yield self._stacked(pending, done)
                done += len(pending)
                pending = []
            pending.append(sample)
        if pending:
            yield self._stacked(pending, done)

    def _stacked(
        self, samples: list[tuple[Tensor, Tensor, Tensor]], first: int
    ) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        images, labels, own = (torch.stack(column) for column in zip(*samples, strict=True))
        return images, labels, own, [entry.name for entry in self.index.entries[first : first + len(samples)]]


def _loader(dataset: Dataset[Any], items: range, workers: int) -> Iterator[Any]:
    """The items in order, read ahead by worker processes; a user's mistake that a worker meets is raised here."""
    loader = DataLoader(
        _Reporting(dataset),
        batch_size=None,
        sampler=items,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


class _Reporting(Dataset[Any]):
    """Hands a UserError over as an item: raised in a worker, it would reach the user as a stack trace."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, position: int) -> Any:
        try:
            return self.dataset[position]
        except UserError as error:
            return error


def _prepare_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C, and a SIGTERM to the whole group, are for the main process to answer, which needs its workers meanwhile.
    os.setpgid(0, 0)
