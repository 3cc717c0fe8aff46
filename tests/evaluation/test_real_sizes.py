"""Both protocols on val images of the sizes that real ones have, from files on disk to counts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dstc.core.index import load_index
from dstc.core.places import INDEX_TARGET_VAL
from dstc.data.loaders import ValidationImages
from dstc.evaluation.protocols import Confusion, Network, evaluate
from dstc.models.normalization import NORMALIZATIONS
from dstc.models.segmentation import build_network
from stages.prepare_data import prepare
from tests.preparation import trees

ROAD, CAR = 0, 13  # train ids of trees.ROAD and trees.CAR
normalize = NORMALIZATIONS["imagenet_rgb"].apply


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder beside a source and a target in the layouts of GTA5 and Cityscapes, still without val images."""
    trees.gta5(tmp_path / "gta5", 1)
    trees.cityscapes(tmp_path / "cs", val=0)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def write_val_image(project: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Of the label files, Cityscapes' labelIds alone."""
    name = "val/munster/munster_000000_000019"
    trees.write(project / f"cs/leftImg8bit/{name}_leftImg8bit.png", image)
    trees.write(project / f"cs/gtFine/{name}_gtFine_labelIds.png", label)
    assert list(project.rglob("*TrainIds*")) == []


def evaluated(project: Path, network: Network, resize: list[int] | None) -> Confusion:
    prepare(trees.params_for(project / "gta5", project / "cs", data={"target.resize": resize}))
    images = ValidationImages(load_index(INDEX_TARGET_VAL), [project / "cs"])
    return evaluate(
        {"network": network},
        images.batches(2, workers=0),
        normalize=normalize,
        num_classes=19,
        protocols=["half", "full"],
        device=torch.device("cpu"),
        averaged=(),
    )


def counts(confusion: Confusion, protocol: str) -> dict[tuple[int, int], int]:
    """Pixels by (true, predicted) train ids, where there are any."""
    matrix = confusion[protocol]["network"].counts
    return {(true, predicted): int(matrix[true, predicted]) for true, predicted in matrix.nonzero().tolist()}


def test_at_2048x1024_full_counts_every_pixel_of_the_label_and_half_every_second_of_each_row(project: Path) -> None:
    """The left of the image is black, the right red; the network takes red for car. The left of the label is road and car
    in rows of one pixel, of which shrinking by half keeps one kind only; a band of it is void."""
    image, label = np.zeros((1024, 2048, 3), np.uint8), np.full((1024, 2048), trees.CAR, np.uint8)
    image[:, 1024:, 0] = 255
    label[1::2, :1024] = trees.ROAD
    label[:256, 1024:] = trees.LICENSE_PLATE
    write_val_image(project, image, label)
    seen = []

    def takes_red_for_car(batch: Tensor) -> Tensor:
        seen.append(tuple(batch.shape))
        logits = torch.full((len(batch), 19, *batch.shape[-2:]), -9.0)
        logits[:, ROAD], logits[:, CAR] = 0, batch[:, 0]  # red is below zero where it is darker than the mean
        return logits

    confusion = evaluated(project, takes_red_for_car, [1024, 512])
    assert seen == [(1, 3, 512, 1024)]
    assert counts(confusion, "full") == {
        (ROAD, ROAD): 512 * 1024,
        (CAR, ROAD): 512 * 1024,
        (CAR, CAR): 768 * 1024,
    }
    assert counts(confusion, "half") == {(ROAD, ROAD): 512 * 512, (CAR, CAR): 384 * 512}


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("resize", [None, [51, 37]])
def test_images_that_no_stride_divides_are_scored_at_their_own_size(
    project: Path, output_stride: int, resize: list[int] | None
) -> None:
    draws = np.random.default_rng(0)
    image = draws.integers(0, 256, (53, 93, 3), dtype=np.uint8)
    label = draws.choice(np.array([trees.ROAD, trees.SKY, trees.LICENSE_PLATE], np.uint8), (53, 93))
    write_val_image(project, image, label)
    network = build_network(
        "narrow_resnet",
        19,
        stride_on="first_conv",
        output_stride=output_stride,
        atrous_rates=(6, 12, 18, 24),
        batch_norm_affine="trained",
        batch_norm_statistics="batch",
        precision="fp32",
        seed=0,
    ).eval()
    confusion = evaluated(project, network, resize)
    labeled = int((label != trees.LICENSE_PLATE).sum())
    assert int(confusion["full"]["network"].counts.sum()) == labeled
    if resize is None:
        assert counts(confusion, "half") == counts(confusion, "full")
        with torch.no_grad():
            predicted = network(normalize(torch.from_numpy(image)))[0].argmax(0).numpy()
        expected = {
            (true, k): int(((label == id_) & (predicted == k)).sum())
            for true, id_ in ((ROAD, trees.ROAD), (10, trees.SKY))
            for k in np.unique(predicted).tolist()
        }
        assert counts(confusion, "full") == {key: count for key, count in expected.items() if count}
    else:
        small = label[
            np.ix_(*(((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((37, 51), (53, 93), strict=True)))
        ]
        assert int(confusion["half"]["network"].counts.sum()) == int((small != trees.LICENSE_PLATE).sum())
