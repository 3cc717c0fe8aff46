from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dstc.core.index import DomainIndex
from dstc.core.taxonomy import IGNORE
from dstc.data.loaders import Crops, Stream, ValidationImages, image_names, training_batches
from tests.data.small_domain import small_domain


@pytest.fixture
def domain(tmp_path: Path) -> DomainIndex:
    return small_domain(tmp_path, 7)


def streams(domain: DomainIndex, root: Path) -> dict[str, Stream]:
    return {
        "source": Stream(domain, [root], batch=3, crop=(10, 8)),
        "unlabeled_target": Stream(domain.without_labels(), [root], batch=2, crop=(10, 8)),
    }


def batches(
    domain: DomainIndex, root: Path, *, seed: int = 0, first: int = 0, iterations: int = 6, workers: int = 0
) -> list[dict[str, Crops]]:
    wanted = streams(domain, root)
    return list(training_batches(wanted, seed=seed, first=first, iterations=iterations, workers=workers))


def assert_equal(ours: list[dict[str, Crops]], expected: list[dict[str, Crops]]) -> None:
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            for a, b in zip(one[name], other[name], strict=True):
                assert torch.equal(a, b)


def test_a_batch_holds_crops_of_every_stream_as_uint8(domain: DomainIndex, tmp_path: Path) -> None:
    batch = batches(domain, tmp_path)[0]
    for name, count in (("source", 3), ("unlabeled_target", 2)):
        images, labels = batch[name]
        assert images.shape == (count, 8, 10, 3)
        assert labels.shape == (count, 8, 10)
        assert images.dtype == labels.dtype == torch.uint8


def test_the_labels_of_an_unlabeled_stream_are_void_in_the_padding_alone(domain: DomainIndex, tmp_path: Path) -> None:
    """Images of 16 rows and 24 or more columns."""
    for batch in batches(domain, tmp_path):
        assert (batch["unlabeled_target"][1] == 0).all()
    images, labels = Stream(domain.without_labels(), [tmp_path], batch=2, crop=(40, 20)).crops(0, seed=0, name="target")
    widths = 24 + images[:, 0, 0, 0].long()
    for label, width in zip(labels, widths.tolist(), strict=True):
        assert (label[:16, :width] == 0).all()
        assert (label[16:] == IGNORE).all() and (label[:, width:] == IGNORE).all()


def test_two_workers_give_the_batches_that_none_gives(domain: DomainIndex, tmp_path: Path) -> None:
    assert_equal(batches(domain, tmp_path, workers=2), batches(domain, tmp_path, workers=0))


def test_starting_later_gives_the_batches_from_there_on(domain: DomainIndex, tmp_path: Path) -> None:
    assert_equal(batches(domain, tmp_path, first=4), batches(domain, tmp_path)[4:])


def test_a_stream_that_begins_later_is_not_read_before_and_then_gives_what_it_would_have_given(
    domain: DomainIndex, tmp_path: Path
) -> None:
    always = streams(domain, tmp_path)
    later = always | {"unlabeled_target": replace(always["unlabeled_target"], first_iteration=4)}
    whole = batches(domain, tmp_path)
    expected = [{"source": batch["source"]} for batch in whole[:4]] + whole[4:]
    for first in (0, 3, 5):
        found = list(training_batches(later, seed=0, first=first, iterations=6, workers=1))
        assert_equal(found, expected[first:])
    assert image_names(later, 3, seed=0) == {"source": image_names(always, 3, seed=0)["source"]}
    assert image_names(later, 4, seed=0) == image_names(always, 4, seed=0)


@pytest.mark.parametrize(("first", "read"), [(0, range(6)), (4, range(4, 6)), (6, range(0)), (9, range(0))])
def test_only_what_a_stream_gives_is_brought_into_its_cache(
    domain: DomainIndex, tmp_path: Path, first: int, read: range
) -> None:
    stream = streams(domain, tmp_path)["unlabeled_target"]
    later = replace(stream, first_iteration=first)
    assert later.entries_of(range(6), seed=0, name="u") == stream.entries_of(read, seed=0, name="u")


def test_another_seed_and_another_stream_see_other_orders_and_windows(domain: DomainIndex, tmp_path: Path) -> None:
    one, other = (batches(domain, tmp_path, seed=seed) for seed in (0, 1))
    assert [b["source"][0].tolist() for b in one] != [b["source"][0].tolist() for b in other]
    stream = Stream(domain, [tmp_path], batch=7, crop=(10, 8))
    source, target = (stream.crops(0, seed=0, name=name)[0] for name in ("source", "labeled_target"))
    assert source[:, 0, 0, 0].tolist() != target[:, 0, 0, 0].tolist()


def test_an_epoch_covers_all_images_once_and_the_next_in_another_order(domain: DomainIndex, tmp_path: Path) -> None:
    """Batches of 3 of 7 images: epochs begin within a batch."""
    shown = [
        number
        for batch in batches(domain, tmp_path, iterations=14)
        for number in batch["source"][0][:, 0, 0, 0].tolist()
    ]
    epochs = [shown[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_larger_than_the_domain_shows_images_again(domain: DomainIndex, tmp_path: Path) -> None:
    few = domain.named(["00.png", "01.png"])
    images, _ = Stream(few, [tmp_path], batch=5, crop=(10, 8)).crops(0, seed=0, name="labeled_target")
    assert sorted(Counter(images[:, 0, 0, 0].tolist()).values()) == [2, 3]


def test_a_window_that_comes_again_lies_elsewhere(domain: DomainIndex, tmp_path: Path) -> None:
    one = domain.named(["00.png"])
    corners = {
        tuple(Stream(one, [tmp_path], batch=1, crop=(4, 4)).crops(i, seed=0, name="source")[0][0, 0, 0].tolist())
        for i in range(10)
    }
    assert len(corners) > 5


@pytest.mark.parametrize("workers", [0, 1])
def test_validation_images_come_in_order_in_runs_of_one_size(tmp_path: Path, workers: int) -> None:
    index = small_domain(tmp_path, 3)
    index = index.named(["00.png", "00.png", "00.png", "01.png", "02.png", "02.png"])
    found = list(ValidationImages(index, [tmp_path]).batches(2, workers))
    assert [names for *_, names in found] == [
        ["00.png", "00.png"],
        ["00.png"],
        ["01.png"],
        ["02.png", "02.png"],
    ]
    for images, labels, own, names in found:
        assert len(images) == len(labels) == len(own) == len(names)
        assert images.shape[1:3] == labels.shape[1:] == own.shape[1:]
        assert {f"{number:02d}.png" for number in images[:, 0, 0, 0].tolist()} == set(names)


def test_validation_labels_come_at_the_images_size_and_at_their_own(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 1, resize=(12, 8))
    images, labels, own = ValidationImages(index, [tmp_path])[0]
    assert images.shape == (8, 12, 3)
    assert labels.shape == (8, 12)
    assert own.shape == (16, 24)


def test_shares_of_a_batch_hold_its_crops_in_order(domain: DomainIndex, tmp_path: Path) -> None:
    stream = Stream(domain, [tmp_path], batch=6, crop=(10, 8))
    whole = stream.crops(4, seed=0, name="source")
    shares = [stream.crops(4, seed=0, name="source", share=(number, 3)) for number in range(3)]
    assert all(len(images) == 2 for images, _ in shares)
    for column in (0, 1):
        assert torch.equal(torch.cat([share[column] for share in shares]), whole[column])


def test_shares_of_the_val_images_hold_each_once(domain: DomainIndex, tmp_path: Path) -> None:
    images = ValidationImages(domain, [tmp_path])
    names = [entry.name for number in range(3) for entry in images.share((number, 3)).index.entries]
    assert sorted(names) == sorted(entry.name for entry in domain.entries)
    assert len(names) == 7
