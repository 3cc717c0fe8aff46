import pytest
import torch

from dstc.core.batches import LabeledBatch
from dstc.core.errors import UserError
from dstc.method.cross_domain_combination import combine_whole_images, combine_within_images
from tests.method import slow


def batch(seed: int, count: int) -> LabeledBatch:
    return LabeledBatch(slow.random_tensor(seed, count, 3, 4, 5), slow.random_label(seed + 100, count, 4, 5, void=0.4))


def test_data_combination_1_hands_on_whole_images() -> None:
    source, target = batch(0, 2), batch(1, 3)
    assert combine_whole_images(source, target) == (source, target)


def test_data_combination_2_matches_a_loop_and_source_images_beyond_the_target_are_left_out() -> None:
    source, target = batch(0, 3), batch(1, 2)
    chosen = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    combined = combine_within_images(source, target, chosen)
    assert len(combined.image) == len(combined.label) == 2
    for i in range(2):
        image, label = slow.paste(
            (source.image[i], source.label[i]), (target.image[i], target.label[i]), slow.listed(chosen)[i]
        )
        assert torch.equal(combined.image[i], image)
        assert torch.equal(combined.label[i], label)


def test_a_source_image_is_not_pasted_into_several_target_images() -> None:
    with pytest.raises(UserError, match="source: holds 1 images for 2 labeled target images"):
        combine_within_images(batch(0, 1), batch(1, 2), torch.ones(1, 5, dtype=torch.bool))


def test_void_of_the_source_covers_nothing_and_void_of_the_target_stays() -> None:
    source, target = batch(0, 2), batch(1, 2)
    combined = combine_within_images(source, target, torch.ones(2, 5, dtype=torch.bool))
    void = source.label == slow.VOID
    assert void.any()
    assert torch.equal(combined.label[void], target.label[void])
    assert torch.equal(combined.label[~void], source.label[~void])
    assert (combined.label[void] == slow.VOID).any()
