"""An image or label file of the index, as the array that training reads.

What this module and `dstc.core.image_files` make of a file is a function of its bytes and of `DataFile.key`'s ingredients.
That is what lets `dstc.data.cache` keep the arrays.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, features

from dstc.core.errors import UserError
from dstc.core.image_files import decode_image, decode_label, to_train_ids
from dstc.core.index import DomainIndex, Entry, digest

# To be raised where other arrays come of the same bytes: no cached one is used then. tests/data/test_data_files.py notices.
FORMAT = 2
COARSEST_CLOCK = 2 * 10**9  # nanoseconds: file systems note times as coarsely as this


class Stamp(NamedTuple):
    """By what an untouched file is known without reading it. Writing to a file changes its ctime, whatever else is kept."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_settled(self) -> bool:
        """Whether a change from now on is sure to change the stamp: not so within one tick of the file system's clock."""
        return time.time_ns() - max(self.mtime_ns, self.ctime_ns) > COARSEST_CLOCK


@dataclass(frozen=True)
class DataFile(ABC):
    """One file, and the array that is wanted of it: uint8, height and width first."""

    path: Path
    name: str  # what messages about its content call it
    digest: str  # of its bytes, as the index has it
    size: tuple[int, int]  # (width, height) of the array

    def content(self) -> tuple[bytes, Stamp]:
        """The bytes, and the stamp under which they were found; refused unless they are those that were indexed."""
        try:
            with self.path.open("rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))  # before reading: what changes meanwhile has another one
                content = file.read()
        except OSError as error:
            raise self._gone(error) from None
        if digest(content) != self.digest:
            raise UserError(f"{self.path}: changed since it was indexed; run `dvc repro -f prepare_data`")
        return content, stamp

    def stamp(self) -> Stamp:
        """The stamp of the file as it lies there now."""
        try:
            return _stamp(self.path.stat())
        except OSError as error:
            raise self._gone(error) from None

    def _gone(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: {error.strerror}, but the index lists it; run `dvc repro -f prepare_data`")

    @functools.cached_property
    def key(self) -> str:
        """A name for the array, 32 hexadecimal digits: equal keys mean equal arrays, whichever file they come from."""
        text = f"{_generation()} {self.digest} {self.size} {self._meaning}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""

    @property
    @abstractmethod
    def _meaning(self) -> str:
        """What besides bytes and size decides the array."""

    @abstractmethod
    def decode(self, content: bytes) -> np.ndarray:
        """The array of these bytes."""


@dataclass(frozen=True)
class ImageFile(DataFile):
    """An image: (H, W, 3) RGB, upright, resized bicubic by Pillow, as in the released code."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size[1], self.size[0], 3)

    @property
    def _meaning(self) -> str:
        return "image"

    def decode(self, content: bytes) -> np.ndarray:
        image = decode_image(content, self.name)
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BICUBIC)
        return np.asarray(image)


@dataclass(frozen=True)
class LabelFile(DataFile):
    """A label: (H, W) of train ids and IGNORE, resized nearest by Pillow."""

    index: DomainIndex

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size[1], self.size[0])

    @property
    def _meaning(self) -> str:
        return self.index.label_meaning

    def decode(self, content: bytes) -> np.ndarray:
        raw = decode_label(content, self.name)
        index = self.index
        label = to_train_ids(raw, index.label_ids, index.label_colors, self.name, tolerance=index.tolerance)
        if label.shape != self.shape:
            label = np.asarray(Image.fromarray(label).resize(self.size, Image.Resampling.NEAREST))
        return label


def image_file(entry: Entry, index: DomainIndex, roots: Sequence[Path]) -> ImageFile:
    """The image of an entry, at `index.resize`, or at its own size."""
    size = index.resize or (entry.width, entry.height)
    return ImageFile(_root(entry, roots) / entry.image, entry.image, entry.image_digest, size)


def label_file(entry: Entry, index: DomainIndex, roots: Sequence[Path], *, own_size: bool = False) -> LabelFile:
    """The label of an entry that has one, at the size of `image_file`, or at that of the image on disk."""
    assert entry.label is not None and entry.label_digest is not None
    size = (entry.width, entry.height) if own_size or index.resize is None else index.resize
    return LabelFile(_root(entry, roots) / entry.label, entry.label, entry.label_digest, size, index)


def _root(entry: Entry, roots: Sequence[Path]) -> Path:
    if entry.root >= len(roots):
        raise UserError(f"paths.unlabeled lacks the folder of {entry.name}; run `dvc repro prepare_data`")
    return roots[entry.root]


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.cache
def _generation() -> str:
    """What makes arrays of bytes: the rules of this project, and the decoders' versions."""
    return f"{FORMAT} {PIL.__version__} {features.version('libjpeg_turbo')}"
