import numpy as np
import pytest
import torch
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, Classes
from dstc.evaluation.rows import AVERAGE, ROWS
from dstc.evaluation.val_pictures import choose, draw_predictions, file_names
from dstc.label_maps.pictures import colorize, grid, legend_of, read_panels, save_grid

TWO = Classes(("one", "two"), ((200, 0, 0), (0, 0, 200)))


def contains(picture, panel):
    """Whether `panel`, uint8 (H, W, 3), is part of the picture somewhere, pixel for pixel."""
    height, width = panel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(picture), (height, width, 3))[:, :, 0]
    candidates = np.argwhere(
        (windows[:, :, 0, 0] == panel[0, 0]).all(-1) & (windows[:, :, -1, -1] == panel[-1, -1]).all(-1)
    )
    return any(np.array_equal(windows[y, x], panel) for y, x in candidates)


def noise(seed, height=60, width=240):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_labels_take_their_classes_colors_and_void_is_black():
    colors = colorize(np.array([[0, 10], [IGNORE, 18]], np.uint8), CITYSCAPES_19)
    assert colors.tolist() == [[[128, 64, 128], [70, 130, 180]], [[0, 0, 0], [119, 11, 32]]]
    assert colors.dtype == np.uint8


def test_legend_names_each_class_and_void():
    assert legend_of(TWO) == [("one", (200, 0, 0)), ("two", (0, 0, 200)), ("void", (0, 0, 0))]


def test_a_grid_shows_every_panel_pixel_for_pixel():
    panels = [(f"panel {i}", noise(i)) for i in range(5)]
    picture = grid(panels, legend_of(TWO), columns=3)
    assert picture.mode == "RGB"
    assert 3 * 240 < picture.width < 3 * 240 + 60
    assert all(contains(picture, pixels) for _, pixels in panels)


def test_a_grid_shows_its_legends_colors():
    assert not contains(grid([("noise", noise(0))]), np.full((10, 10, 3), (200, 0, 0), np.uint8))
    assert contains(grid([("noise", noise(0))], legend_of(TWO)), np.full((10, 10, 3), (200, 0, 0), np.uint8))


def test_small_panels_are_enlarged_by_a_whole_factor_and_large_ones_are_shrunk():
    small = noise(0, 20, 100)
    assert contains(grid([("small", small)]), small.repeat(3, 0).repeat(3, 1))
    assert grid([("large", noise(0, 512, 2048))]).width < 700


def test_a_legend_longer_than_the_picture_flows_over_several_lines():
    panel = ("panel", noise(0))
    assert grid([panel], legend_of(CITYSCAPES_19)).width == grid([panel]).width
    assert grid([panel], legend_of(CITYSCAPES_19)).height > grid([panel], legend_of(TWO)).height


def read_back(path, panels):
    save_grid(path, panels, legend_of(TWO))
    return read_panels(path)


@pytest.mark.parametrize("width", [100, 240, 640])
def test_panels_come_out_of_the_file_as_they_went_in(tmp_path, width):
    panels = [(f"panel {i}", noise(i, 20, width)) for i in range(6)]
    back = read_back(tmp_path / "grid.png", panels)
    assert [title for title, _ in back] == [title for title, _ in panels]
    assert all(np.array_equal(pixels, shown) for (_, pixels), (_, shown) in zip(panels, back, strict=True))


def test_panels_that_were_shrunk_come_out_as_large_as_they_are_in_the_file(tmp_path):
    ((_, pixels),) = read_back(tmp_path / "grid.png", [("large", noise(0, 512, 2048))])
    assert pixels.shape == (160, 640, 3)


def test_a_picture_of_another_origin_is_one_panel(tmp_path):
    Image.fromarray(noise(0)).save(tmp_path / "photo.png")
    ((title, pixels),) = read_panels(tmp_path / "photo.png")
    assert title == ""
    assert np.array_equal(pixels, noise(0))


def test_chosen_images_are_spread_evenly_over_all():
    names = [f"{i}.png" for i in range(100)]
    assert choose(names, 4, []) == ["12.png", "37.png", "62.png", "87.png"]
    assert choose(names, 0, []) == []
    assert choose(names[:3], 6, []) == names[:3]


def test_named_images_are_chosen_once_each_in_their_order():
    assert choose(["a.png", "b.png", "c.png"], 6, ["c.png", "a.png", "c.png"]) == ["c.png", "a.png"]


def test_an_unknown_picture_name_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"evaluate.picture_names: 'bern/0\.png' is not .*did you mean 'berne/0\.png'"):
        choose(["ulm/7.png", "berne/0.png"], 0, ["bern/0.png"])


def test_file_names_are_safe_and_distinct():
    assert file_names(["ulm/a b.png", "bern/x.jpg", "rome/X.png", "../é.tif"]) == {
        "ulm/a b.png": "a_b.png",
        "bern/x.jpg": "x.png",
        "rome/X.png": "X_2.png",
        "../é.tif": "_.png",
    }


def test_a_val_picture_shows_input_truth_and_every_rows_prediction(tmp_path):
    side = 240  # no panel is enlarged, so they can be found as they are

    def network(left_half):
        """Says class 1 in one half of the image and, less surely, class 0 everywhere."""
        logits = torch.zeros(1, 2, 8, side)
        logits[:, 0] = 1
        logits[:, 1, :, : side // 2 if left_half else side] = 2
        return lambda image: logits.expand(len(image), -1, -1, -1)

    networks = {row: network(row.startswith("source")) for row in ROWS if row != AVERAGE}
    image, label = noise(0, 8, side), np.random.default_rng(1).integers(0, 2, (8, side), dtype=np.uint8)
    labels = torch.from_numpy(label)[None]
    draw_predictions(
        networks,
        [(torch.from_numpy(image)[None], labels, labels, ["ulm/x.png"])],
        normalize=lambda image: image.permute(0, 3, 1, 2).float(),
        classes=TWO,
        device=torch.device("cpu"),
        files={"ulm/x.png": tmp_path / "x.png"},
    )
    picture = Image.open(tmp_path / "x.png")
    left = np.zeros((8, side), np.uint8)
    left[:, : side // 2] = 1
    shown = [image, *(colorize(labels, TWO) for labels in (label, left, np.ones_like(left)))]
    assert all(contains(picture, panel) for panel in shown)
