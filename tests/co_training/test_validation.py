"""What pseudo-labels are worth on val images, against counting pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dstc.co_training.validation import validate_branches
from dstc.core.taxonomy import IGNORE
from dstc.data.loaders import ValidationImages
from dstc.training.validation import validate
from tests.co_training.test_trainer import context, params
from tests.data.small_domain import small_domain

TEACHERS = {"source_biased": "one", "target_biased": "other"}
TOGETHER = {"average": ["one", "other"]}


def test_shares_accuracies_and_disagreement_are_those_of_counting_pixels(tmp_path: Path) -> None:
    own = context(params())
    images = ValidationImages(small_domain(tmp_path, 5), [tmp_path])
    networks = {"one": own.networks.new(), "other": replace(own.networks, seed=1).new()}
    pixels, threshold = [], 0.36
    for network in networks.values():
        network.eval()
    for raw, label, _, _ in images.batches(1, 0):
        with torch.no_grad():
            scores = [
                network(own.networks.preprocessing.apply(raw)).softmax(1)[0].numpy() for network in networks.values()
            ]
        known = label[0].numpy() != IGNORE
        rows = zip(*(score[:, known].T for score in scores), label[0].numpy()[known], strict=True)
        pixels += [(one, other, int(truth)) for one, other, truth in rows]
    expected = {"disagreement": 100 * np.mean([one.argmax() != other.argmax() for one, other, _ in pixels])}
    for position, branch in enumerate(TEACHERS):
        sure = [pixel for pixel in pixels if pixel[position].max() > threshold]
        assert 0 < len(sure) < len(pixels)
        expected[f"{branch}_confident_share"] = 100 * len(sure) / len(pixels)
        right = [pixel[position].argmax() == pixel[2] for pixel in sure]
        expected[f"{branch}_pseudo_label_accuracy"] = 100 * np.mean(right)

    found = validate_branches(networks, images, own, together=TOGETHER, teachers=TEACHERS, threshold=threshold)
    scores_alone = validate(networks, images, own, TOGETHER)
    assert found.keys() == scores_alone.keys() | expected.keys()
    assert {name: found[name] for name in scores_alone} == scores_alone
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert all(network.training for network in networks.values())


def test_without_a_threshold_every_pixel_counts_and_beyond_all_of_them_there_is_no_accuracy(tmp_path: Path) -> None:
    own = context(params())
    images = ValidationImages(small_domain(tmp_path, 2), [tmp_path])
    networks = {"one": own.networks.new(), "other": own.networks.new()}
    found = validate_branches(networks, images, own, together={}, teachers=TEACHERS, threshold=0.0)
    assert found["source_biased_confident_share"] == found["target_biased_confident_share"] == 100
    assert found["disagreement"] == 0
    found = validate_branches(networks, images, own, together={}, teachers=TEACHERS, threshold=0.999999)
    assert found["source_biased_confident_share"] == 0
    assert "source_biased_pseudo_label_accuracy" not in found
