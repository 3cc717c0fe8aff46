import numpy as np
import pytest
import torch

from dstc.core.taxonomy import IGNORE
from dstc.evaluation.inference import ONE_VIEW, Views, predict
from dstc.evaluation.protocols import evaluate, row_scores
from dstc.evaluation.rows import AVERAGE, ROWS
from dstc.label_maps.confusion_matrix import ConfusionMatrix

K = 4
CPU = torch.device("cpu")


def linear_network(seed):
    """A network of one pixel: logits are a fixed linear map of the colors."""
    weight = torch.randn(K, 3, generator=torch.Generator().manual_seed(seed)) * 3
    return lambda image: torch.einsum("kc,nchw->nkhw", weight, image)


NETWORKS = {row: linear_network(seed) for seed, row in enumerate(ROWS) if row != AVERAGE}


def normalize(image):
    return image.permute(0, 3, 1, 2).float() / 255 - 0.5


def random_batch(size, own_size, count=2, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *size, 3), generator=draws, dtype=torch.uint8)
    labels = torch.randint(0, K, (count, *size), generator=draws, dtype=torch.uint8)
    own = torch.randint(0, K, (count, *own_size), generator=draws, dtype=torch.uint8)
    labels[:, 0, 0] = own[:, 0, :2] = IGNORE
    return images, labels, labels if size == own_size else own, [f"{seed}_{i}.png" for i in range(count)]


def evaluated(batches, protocols=("half", "full"), networks=NETWORKS, views=ONE_VIEW):
    return evaluate(networks, batches, normalize=normalize, num_classes=K, protocols=protocols, device=CPU, views=views)


def test_the_average_is_the_mean_of_the_branches_probabilities():
    image = torch.randn(2, 3, 4, 5)
    scores = dict(row_scores(NETWORKS, image))
    one, other = (NETWORKS[row](image).softmax(1) for row in ("source_biased", "target_biased"))
    torch.testing.assert_close(scores[AVERAGE], (one + other) / 2)
    torch.testing.assert_close(scores[AVERAGE].sum(1), torch.ones(2, 4, 5))
    assert list(scores) == list(ROWS)


def test_a_sure_branch_outvotes_an_unsure_one_in_the_average():
    logits = {"source_biased": [0.0, 0.5, 0, 0], "target_biased": [4.0, 0, 0, 0]}
    networks = {row: lambda _, v=v: torch.tensor(v).view(1, K, 1, 1) for row, v in logits.items()}
    scores = dict(row_scores(networks, torch.zeros(1, 3, 1, 1)))
    assert [int(predict(score, (1, 1))) for score in scores.values()] == [1, 0, 0]


def bilinear_by_hand(score, size):
    """(K, h, w) to (K, *size), pixel by pixel, with pixel centers at half integers (align_corners=False)."""
    _, height, width = score.shape
    out = np.empty((score.shape[0], *size))
    for y in range(size[0]):
        for x in range(size[1]):
            sy = min(max((y + 0.5) * height / size[0] - 0.5, 0), height - 1)
            sx = min(max((x + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(sy), int(sx)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            fy, fx = sy - top, sx - left
            upper = score[:, top, left] * (1 - fx) + score[:, top, right] * fx
            lower = score[:, bottom, left] * (1 - fx) + score[:, bottom, right] * fx
            out[:, y, x] = upper * (1 - fy) + lower * fy
    return out


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_enlarged_predictions_match_bilinear_interpolation_done_by_hand(size):
    score = torch.randn(2, K, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = np.stack([bilinear_by_hand(one.double().numpy(), size).argmax(0) for one in score])
    np.testing.assert_array_equal(predict(score, size).numpy(), expected)


def test_half_and_full_are_equal_where_labels_have_the_inputs_size():
    confusion = evaluated([random_batch((4, 6), (4, 6))])
    for row in ROWS:
        assert torch.equal(confusion["half"][row].counts, confusion["full"][row].counts)
        assert confusion["half"][row].counts.sum() == 2 * (4 * 6 - 1)  # without the void pixel


def test_each_protocol_and_row_equals_a_separate_count_over_batches_of_differing_sizes():
    batches = [random_batch((4, 6), (8, 12), seed=0), random_batch((5, 6), (5, 6), seed=1, count=1)]
    confusion = evaluated(batches)
    for row, network in NETWORKS.items():
        half, full = ConfusionMatrix(K), ConfusionMatrix(K)
        for images, labels, own_labels, _ in batches:
            logits = network(normalize(images))
            half.update(labels, logits.argmax(1))
            enlarged = torch.nn.functional.interpolate(logits, own_labels.shape[1:], mode="bilinear")
            full.update(own_labels, enlarged.argmax(1))
        assert torch.equal(confusion["half"][row].counts, half.counts)
        assert torch.equal(confusion["full"][row].counts, full.counts)


def test_only_the_protocols_asked_for_are_computed():
    assert list(evaluated([random_batch((4, 6), (8, 12))], protocols=["full"])) == ["full"]


def test_every_network_sees_each_batch_once():
    seen = []

    def counting(image):
        seen.append(len(image))
        return NETWORKS["warm_up_source"](image)

    evaluated([random_batch((4, 6), (8, 12), count=3)], networks=dict.fromkeys(NETWORKS, counting))
    assert seen == [3] * len(NETWORKS)


def test_augmented_protocols_stand_beside_the_plain_ones_and_leave_them_as_they_were():
    networks = {
        row: (lambda image, n=net: n(image.cumsum(-1) / 4)) for row, net in NETWORKS.items()
    }  # left is not right
    plain = evaluated([random_batch((4, 6), (8, 12))], networks=networks)
    both = evaluated([random_batch((4, 6), (8, 12))], networks=networks, views=Views(flip=True))
    assert list(plain) == ["half", "full"]
    assert list(both) == ["half", "full", "half_tta", "full_tta"]
    image = normalize(random_batch((4, 6), (8, 12))[0])
    for row in ROWS:
        assert all(torch.equal(plain[p][row].counts, both[p][row].counts) for p in plain)
    for row, network in networks.items():
        scores = (network(image).softmax(1) + network(image.flip(-1)).softmax(1).flip(-1)) / 2
        expected = ConfusionMatrix(K)
        expected.update(random_batch((4, 6), (8, 12))[2], predict(scores, (8, 12)))
        assert torch.equal(both["full_tta"][row].counts, expected.counts)
