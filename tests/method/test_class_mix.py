import pytest
import torch
from torch import Tensor

from dstc.core.batches import LabeledBatch
from dstc.core.taxonomy import IGNORE
from dstc.method.class_mix import class_mix, classes_present, paste, paste_mask, sample_half_of_classes
from tests.method import slow


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def label_with(classes: int) -> Tensor:
    """(1, 1, 20) with exactly the classes 0..classes-1, and void."""
    return torch.tensor([*range(classes), *[IGNORE] * (20 - classes)], dtype=torch.uint8).view(1, 1, 20)


@pytest.mark.parametrize("seed", range(3))
def test_classes_present_match_a_loop(seed: int) -> None:
    label = slow.random_label(seed, 3, 2, 3, classes=7)
    assert slow.listed(classes_present(label, 7)) == [slow.classes_present(image) for image in label]


@pytest.mark.parametrize("count", range(20))
def test_without_replacement_exactly_half_of_the_classes_rounded_up_are_drawn(count: int) -> None:
    for seed in range(5):
        chosen = sample_half_of_classes(label_with(count), 19, generator=generator(seed))
        assert chosen.sum() == (count + 1) // 2
        assert not chosen[0, count:].any()


@pytest.mark.parametrize("count", range(20))
def test_with_replacement_at_most_half_of_the_classes_rounded_up_are_drawn(count: int) -> None:
    for seed in range(5):
        chosen = sample_half_of_classes(label_with(count), 19, generator=generator(seed), with_replacement=True)
        assert min(count, 1) <= chosen.sum() <= (count + 1) // 2
        assert not chosen[0, count:].any()


@pytest.mark.parametrize("with_replacement", [False, True])
def test_images_of_a_batch_draw_from_their_own_classes(with_replacement: bool) -> None:
    label = torch.tensor([[[0, 1, 2, 3]], [[4, 4, 255, 255]], [[255, 255, 255, 255]], [[0, 2, 4, 6]]]).to(torch.uint8)
    for seed in range(20):
        chosen = sample_half_of_classes(label, 7, generator=generator(seed), with_replacement=with_replacement)
        for row, image in zip(slow.listed(chosen), label, strict=True):
            assert row <= slow.classes_present(image)
        assert slow.listed(chosen)[1:3] == [{4}, set()]


def test_the_released_draw_with_replacement_gives_on_average_4_9_of_12_classes_instead_of_6() -> None:
    label = label_with(12).expand(4000, 1, 20)
    distinct = sample_half_of_classes(label, 19, generator=generator(), with_replacement=True).sum(1).double()
    expected = 12 * (1 - (11 / 12) ** 6)
    assert expected == pytest.approx(4.88, abs=0.01)
    assert distinct.mean() == pytest.approx(expected, abs=0.05)  # four standard errors


@pytest.mark.parametrize("with_replacement", [False, True])
def test_every_class_present_is_drawn_equally_often(with_replacement: bool) -> None:
    label = torch.tensor([1, 3, 4, 8, 9, 255], dtype=torch.uint8).expand(6000, 1, 6)
    chosen = sample_half_of_classes(label, 10, generator=generator(), with_replacement=with_replacement)
    often = chosen.double().mean(0)[[1, 3, 4, 8, 9]]
    expected = 1 - (4 / 5) ** 3 if with_replacement else 3 / 5
    assert (often - expected).abs().max() < 0.03


@pytest.mark.parametrize("with_replacement", [False, True])
def test_the_same_seed_draws_the_same_classes_and_another_seed_others(with_replacement: bool) -> None:
    label = label_with(12)
    first, again, *others = (
        sample_half_of_classes(label, 19, generator=generator(seed), with_replacement=with_replacement)
        for seed in (0, 0, 1, 2, 3)
    )
    assert torch.equal(first, again)
    assert any(not torch.equal(first, other) for other in others)


def test_torchs_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    sample_half_of_classes(label_with(12), 19, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_ignored_pixels_are_never_pasted() -> None:
    label = slow.random_label(0, 2, 6, 7)
    mask = paste_mask(label, torch.ones(2, 5, dtype=torch.bool))
    assert torch.equal(mask, label != IGNORE)


@pytest.mark.parametrize("seed", range(3))
def test_the_paste_mask_matches_a_loop(seed: int) -> None:
    label = slow.random_label(seed, 2, 4, 5)
    chosen = torch.rand(2, 5, generator=generator(seed)) < 0.5
    mask = paste_mask(label, chosen)
    for n, y, x in slow.pixels_of(label):
        assert mask[n, y, x] == (int(label[n, y, x]) in slow.listed(chosen)[n])


def test_paste_takes_image_and_label_from_the_same_side() -> None:
    sides = [LabeledBatch(torch.full((1, 3, 2, 2), value), torch.full((1, 2, 2), int(value))) for value in (1.0, 2.0)]
    mixed = paste(*sides, mask=torch.tensor([[[True, False], [False, True]]]))
    assert mixed.label.tolist() == [[[1, 2], [2, 1]]]
    assert (mixed.image == mixed.label[:, None]).all()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_class_mix_pastes_onto_image_i_from_image_i_plus_1_modulo_n(count: int) -> None:
    images = slow.random_tensor(0, count, 3, 4, 5)
    labels = slow.random_label(1, count, 4, 5, void=0)
    chosen = sample_half_of_classes(labels, 5, generator=generator())
    batch = LabeledBatch(images, labels)
    mixed = class_mix(batch, batch, chosen)
    for receiving in range(count):
        giving = (receiving + 1) % count
        classes = slow.listed(chosen)[giving]
        image, label = slow.paste((images[giving], labels[giving]), (images[receiving], labels[receiving]), classes)
        assert torch.equal(mixed.image[giving], image)  # entry i of the result: the pasted classes of image i
        assert torch.equal(mixed.label[giving], label)


def test_mixing_hard_labels_equals_mixing_soft_predictions_and_taking_the_argmax() -> None:
    logits = slow.random_tensor(0, 3, 5, 6, 7)
    labels = logits.argmax(1).to(torch.uint8)
    chosen = sample_half_of_classes(labels, 5, generator=generator())
    batch = LabeledBatch(slow.random_tensor(1, 3, 3, 6, 7), labels)
    mixed, mask = class_mix(batch, batch, chosen), paste_mask(labels, chosen)
    soft = logits.softmax(1)
    mixed_soft = torch.where(mask[:, None], soft, soft.roll(1, dims=0))
    assert torch.equal(mixed.label, mixed_soft.argmax(1).to(torch.uint8))


def test_class_mix_leaves_its_inputs_alone() -> None:
    images, labels = slow.random_tensor(0, 2, 3, 4, 4), slow.random_label(0, 2, 4, 4, void=0)
    kept = images.clone(), labels.clone()
    batch = LabeledBatch(images, labels)
    class_mix(batch, batch, torch.ones(2, 5, dtype=torch.bool))
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])
