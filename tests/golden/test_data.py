"""Ids, sizes and colors on their way into a network, and the learning rate on its way out of the schedule."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dstc.core.index import DomainIndex, Entry, digest
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, SYNTHIA_16, Classes, train_ids
from dstc.data.samples import read_pair
from dstc.models.normalization import NORMALIZATIONS
from dstc.training.optimizer import poly_learning_rate
from tests.golden.deviations import Tolerance, check
from tests.golden.recorded import arrays, recorded_label


@pytest.mark.parametrize(
    ("key", "layout", "classes"),
    [
        ("gta5", "gta5", CITYSCAPES_19),
        ("cityscapes", "cityscapes", CITYSCAPES_19),
        ("cityscapes_16", "cityscapes", SYNTHIA_16),
        ("synthia_16", "synthia", SYNTHIA_16),
        ("synthia_19space", "synthia", CITYSCAPES_19),
    ],
)
def test_ids_map_as_recorded_and_those_we_refuse_were_void(key: str, layout: str, classes: Classes) -> None:
    recorded = arrays("data_metric")
    known = train_ids(layout, classes)
    expected = dict(zip(recorded["remap.ids"].tolist(), recorded[f"remap.{key}"].tolist(), strict=True))
    for id_, train_id in expected.items():
        assert known.get(id_, IGNORE) == (IGNORE if train_id == -1 else train_id)
    assert set(known) <= set(expected)


def test_the_subsets_are_the_recorded_ones() -> None:
    recorded = arrays("data_metric")
    assert list(CITYSCAPES_19.subsets["miou_16"]) == recorded["set16_in_19"].tolist()
    assert list(CITYSCAPES_19.subsets["miou_13"]) == recorded["set13_in_19"].tolist()
    assert list(SYNTHIA_16.subsets["miou_13"]) == recorded["set13_in_16"].tolist()


def as_png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("size", "tag"), [((16, 12), "16x12"), ((50, 40), "50x40"), (None, "noresize")])
def test_reading_resizing_and_normalizing_match(tmp_path: Path, size: tuple[int, int] | None, tag: str) -> None:
    recorded = arrays("data_metric")
    image, label = as_png(recorded["norm.rgb"]), as_png(recorded["norm.label"])
    (tmp_path / "i.png").write_bytes(image)
    (tmp_path / "l.png").write_bytes(label)
    height, width = recorded["norm.label"].shape
    entry = Entry("i.png", digest(image), width, height, "l.png", digest(label))
    index = DomainIndex(
        domain="source",
        class_names=CITYSCAPES_19.names,
        class_colors=CITYSCAPES_19.colors,
        label_ids=dict.fromkeys(range(256), IGNORE) | train_ids("gta5", CITYSCAPES_19),
        entries=(entry,),
        resize=size,
    )
    pixels, train = read_pair(entry, index, [tmp_path])
    normalized = NORMALIZATIONS["caffe_bgr"].apply(torch.tensor(pixels))[0]
    check(normalized.numpy(), recorded[f"norm.out_{tag}"], Tolerance("normalized images", 1e-5), tag)
    if size is not None:
        assert train is not None
        exact = Tolerance("labels shrunk or enlarged", 0, "elements")
        check(recorded_label(torch.tensor(train)), recorded[f"norm.label_out_{tag}"], exact, tag)


def test_the_mean_is_the_recorded_one() -> None:
    mean = np.array(NORMALIZATIONS["caffe_bgr"].mean, np.float32)
    np.testing.assert_array_equal(mean, arrays("data_metric")["norm.mean_bgr"])


def test_the_poly_schedule_matches_for_backbone_and_classifier() -> None:
    recorded = arrays("data_metric")
    for step, backbone, head in zip(*(recorded[f"poly.{k}"] for k in ("steps", "lr_backbone", "lr_head")), strict=True):
        rate = poly_learning_rate(2.5e-4, int(step), schedule_iterations=250_000, power=0.9)
        check(np.array([rate, 10 * rate]), np.array([backbone, head]), Tolerance("poly schedule", 1e-15), f"{step}")
