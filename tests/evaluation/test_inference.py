import itertools

import pytest
import torch

from dstc.core.errors import UserError
from dstc.evaluation.inference import ONE_VIEW, Views, average, class_scores, in_windows, predict, starts

K = 4


def of_pixels(image):
    """A network that looks at single pixels: it sees no difference between an image, its mirror image and its windows."""
    weight = torch.randn(K, 3, generator=torch.Generator().manual_seed(0)) * 3
    return torch.einsum("kc,nchw->nkhw", weight, image)


def of_neighbours(image):
    """A network that looks to the left and above, and at how large the image is."""
    shifted = torch.roll(image, (1, 2), dims=(-2, -1))
    return of_pixels(image + 0.5 * shifted + image.shape[-1] / 100)


def images(height=12, width=18, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wrong", [{"scales": ()}, {"scales": (1.0, 0.0)}, {"scales": (-1.0,)}, {"window": (0, 64)}])
def test_views_that_show_nothing_are_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        Views(**wrong)


def test_one_view_gives_the_networks_own_logits():
    assert not ONE_VIEW.is_augmented
    assert torch.equal(class_scores(of_neighbours, images()), of_neighbours(images()))


def test_a_flip_averages_the_probabilities_of_both_sides():
    image = images()
    mirrored = of_neighbours(image.flip(-1)).softmax(1).flip(-1)
    expected = (of_neighbours(image).softmax(1) + mirrored) / 2
    torch.testing.assert_close(class_scores(of_neighbours, image, Views(flip=True)), expected)
    assert (expected.argmax(1) != of_neighbours(image).argmax(1)).any()


def test_views_multiply_and_each_counts_the_same():
    image, sizes = images(), []

    def recording(seen):
        sizes.append(tuple(seen.shape[-2:]))
        return of_neighbours(seen)

    scores = class_scores(recording, image, Views(flip=True, scales=(0.5, 1.0, 2.0)))
    assert sizes == [(6, 9), (6, 9), (12, 18), (12, 18), (24, 36), (24, 36)]
    one_by_one = [class_scores(of_neighbours, image, Views(flip=True, scales=(scale,))) for scale in (0.5, 1.0, 2.0)]
    torch.testing.assert_close(scores, torch.stack(one_by_one).mean(0))
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 12, 18))


def test_a_larger_scale_is_bilinear_there_and_back():
    image = images()
    enlarged = torch.nn.functional.interpolate(image, (24, 36), mode="bilinear")
    back = torch.nn.functional.interpolate(
        of_neighbours(enlarged).softmax(1), (12, 18), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(class_scores(of_neighbours, image, Views(scales=(2.0,))), back)


@pytest.mark.parametrize("window", [(6, 6), (7, 5), (18, 4), (40, 5), (1, 1)])
def test_windows_change_nothing_for_a_network_that_looks_at_single_pixels(window):
    torch.testing.assert_close(in_windows(of_pixels, images(), window), of_pixels(images()).softmax(1))


def test_a_pixel_gets_the_mean_of_all_windows_that_see_it():
    image, window = images(), (8, 6)
    scores = in_windows(of_neighbours, image, window)
    tops, lefts = starts(12, 6), starts(18, 8)
    assert (tops, lefts) == ([0, 3, 6], [0, 5, 10])
    for y, x in itertools.product(range(12), range(18)):
        seen = [
            of_neighbours(image[..., top : top + 6, left : left + 8]).softmax(1)[..., y - top, x - left]
            for top, left in itertools.product(tops, lefts)
            if top <= y < top + 6 and left <= x < left + 8
        ]
        torch.testing.assert_close(scores[..., y, x], torch.stack(seen).mean(0))


@pytest.mark.parametrize(("length", "window"), list(itertools.product([16, 17, 100, 1024, 2048], [1, 16, 17, 99, 512])))
def test_windows_cover_a_side_without_leaving_it_and_overlap_by_a_third(length, window):
    found = starts(length, window)
    assert found[0] == 0
    assert found[-1] == max(0, length - window)
    if window >= 16:
        assert all(later - earlier <= window * 2 / 3 + 1 for earlier, later in itertools.pairwise(found))
    if len(found) > 1:  # one window less would be too few
        assert (length - window) / max(1, len(found) - 2) > int(window * 2 / 3) or len(found) == 2


def test_a_window_as_large_as_the_image_is_the_image():
    torch.testing.assert_close(
        class_scores(of_neighbours, images(), Views(window=(18, 12))), of_neighbours(images()).softmax(1)
    )


@pytest.mark.parametrize("views", [ONE_VIEW, Views(flip=True)])
def test_the_average_of_networks_is_that_of_their_probabilities(views):
    scores = [class_scores(network, images(), views) for network in (of_pixels, of_neighbours)]
    probabilities = [score if views.is_augmented else score.softmax(1) for score in scores]
    torch.testing.assert_close(average(scores, views), (probabilities[0] + probabilities[1]) / 2)
    assert average(scores[:1], views) is scores[0]


def test_a_prediction_has_the_size_asked_for():
    assert predict(of_pixels(images()), (30, 20)).shape == (2, 30, 20)
