"""A checkpoint whose backbone is timm's is used as any other is. Skipped where timm is absent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dstc import export, predict
from dstc.evaluation.inference import Views, class_scores
from dstc.prediction.programs import FOR_ONNX
from dstc.prediction.trained import load_trained
from tests.prediction.test_predict import write_network, write_photo

pytest.importorskip("timm", reason="timm is not installed: pip install timm")


def network(name: str, head: str, *, slow: bool = False) -> Any:
    marks = [pytest.mark.slow] if slow else []  # torch.export takes half a minute for each of these
    return pytest.param((f"timm/{name}", head), marks=marks, id=f"{name}-{head}")


NETWORKS = [  # small ones of the kinds that dstc/models/backbones.py names
    network("test_convnext", "deeplab_v2"),
    network("test_resnet", "dpt"),
    network("test_vit", "linear"),
    network("test_vit", "dpt"),
    network("pvt_v2_b0", "deeplab_v2", slow=True),
    network("vit_tiny_patch16_dinov3_qkvb", "dpt", slow=True),
]


@pytest.fixture(params=NETWORKS)
def backbone(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name, head = request.param
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt", backbone=name, head=head, input_size=[50, 37])
    write_photo(tmp_path / "photo.png", 50, 37)
    return str(name)


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


@pytest.mark.usefixtures("backbone")
def test_it_exports_to_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    """The export itself compares the logits that onnxruntime computes with the network's, and refuses a difference."""
    for package in FOR_ONNX:
        pytest.importorskip(package)
    export.main(["a.pt", "--out", "a.onnx"])
    assert "a.onnx: for images of 50x37; logits differ by" in capsys.readouterr().out
    assert Path("a.onnx").stat().st_size > 10_000
