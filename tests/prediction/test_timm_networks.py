"""A checkpoint whose backbone is timm's is used as any other is. Skipped where timm is absent."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dstc import export, predict
from dstc.evaluation.inference import Views, class_scores
from dstc.models.backbones import BACKBONES
from dstc.prediction.trained import load_trained
from tests.prediction.test_predict import write_network, write_photo

pytest.importorskip("timm", reason="timm is not installed: pip install timm")


SMALLER = {"convnext_tiny": "convnext_atto", "resnet50d": "resnet26d", "pvt_v2_b2": "pvt_v2_b0"}  # of the same kind


@pytest.fixture(params=[name for name, backbone in BACKBONES.items() if backbone.timm_weights])
def backbone(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    entry = BACKBONES[request.param]
    smaller = replace(entry, options={**entry.options, "architecture": SMALLER[request.param]})
    monkeypatch.setattr("dstc.models.backbones.BACKBONES", {request.param: smaller})
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt", backbone=request.param, input_size=[50, 37])
    write_photo(tmp_path / "photo.png", 50, 37)
    return request.param


def test_it_describes_itself_predicts_and_exports(backbone: str, capsys: pytest.CaptureFixture[str]) -> None:
    predict.main(["a.pt"])
    described = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert json.loads(described["model"])["backbone"] == backbone

    predict.main(["a.pt", "photo.png", "--flip", "--device", "cpu"])
    trained = load_trained(Path("a.pt"), torch.device("cpu"))
    pixels = torch.from_numpy(np.array(Image.open("photo.png")))
    with torch.inference_mode():
        scores = class_scores(trained.network, trained.normalization.apply(pixels), Views(flip=True))
    predicted = np.asarray(Image.open("predictions/train_ids/photo.png"))
    assert np.array_equal(predicted, scores[0].argmax(0).numpy())

    export.main(["a.pt"])
    program = torch.export.load("a.pt2").module()
    with torch.inference_mode():
        expected = trained.network(trained.normalization.apply(pixels))
        torch.testing.assert_close(program(pixels[None].repeat(2, 1, 1, 1))[:1], expected, rtol=0, atol=1e-4)
