"""What docs/api.md shows runs as it is written, and so do the examples."""

import json
import math
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from dstc import api
from dstc.api import Predictor, UserError
from dstc.predict import main as predict
from examples import own_loop
from tests.pages import DOCS
from tests.pipeline.project import ROOT
from tests.prediction.test_predict import write_network, write_photo

SNIPPETS = re.findall(r"^```python\n(.+?)^```", (DOCS / "api.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("source_biased", "target_biased")):
        (tmp_path / "data/co_train").mkdir(parents=True, exist_ok=True)
        write_network(tmp_path / f"data/co_train/{name}.pt", seed)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_the_snippets_of_the_page_run() -> None:
    assert len(SNIPPETS) == 2
    first, second = ({}, {})
    exec(SNIPPETS[0], first)
    assert first["label"].shape == (128, 256)
    exec(SNIPPETS[1], second)
    assert second["logits_1"].grad.abs().sum() > 0


def test_the_predictor_labels_as_the_command_does(here: Path) -> None:
    write_photo(here / "photo.png", 96, 64)
    checkpoints = [here / "data/co_train/source_biased.pt", here / "data/co_train/target_biased.pt"]
    predict([str(checkpoints[0]), "photo.png", "--average-with", str(checkpoints[1]), "--device", "cpu"])
    label = Predictor(*checkpoints, device="cpu")(np.array(Image.open(here / "photo.png")))
    assert label.dtype == np.uint8
    assert np.array_equal(label, np.array(Image.open(here / "predictions/train_ids/photo.png")))
    assert len(np.unique(label)) > 1


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_an_array_that_is_no_rgb_image_is_refused_with_its_shape(here: Path, image: np.ndarray) -> None:
    predictor = Predictor(str(here / "data/co_train/source_biased.pt"), device="cpu")
    with pytest.raises(
        UserError, match=rf"image: must be uint8 \(H, W, 3\), RGB, not {image.dtype} \({image.shape[0]}"
    ):
        predictor(image)


def test_a_predictor_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="Predictor: needs a checkpoint"):
        Predictor()


def test_the_names_of_the_api_exist() -> None:
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_example_trains_both_networks_on_finite_losses_and_repeats_itself() -> None:
    def losses() -> list[dict[str, float]]:
        torch.manual_seed(0)
        return own_loop.main(iterations=2)

    curve = losses()
    assert len(curve) == 2
    assert len(curve[0]) == 6
    assert all(math.isfinite(value) for one in curve for value in one.values())
    assert curve[0] != curve[1]
    assert losses() == curve


NOTEBOOK = ROOT / "examples/step_by_step.ipynb"


def test_the_notebook_runs_with_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    sizes = "WARM_UP, CO_TRAIN, SOURCE, LABELED, UNLABELED, VAL = "
    names: dict[str, Any] = {}
    for cell in cells:
        source = "".join(cell["source"])
        exec(re.sub(f"{sizes}.*", f"{sizes}2, 2, 4, 4, 4, 2", source), names)
    curve = names["curve"]
    assert len(curve) == 2
    assert all(math.isfinite(value) for one in curve for value in one.values())


def test_the_notebooks_outputs_are_those_of_a_whole_run() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"display_data"}  # no error, no warning
    assert len(outputs) == 5
    assert all("image/png" in output["data"] for output in outputs)
    assert NOTEBOOK.stat().st_size < 1_000_000
