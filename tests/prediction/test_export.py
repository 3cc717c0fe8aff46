import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dstc.export import export_network, main
from dstc.prediction.trained import load_trained
from tests.prediction.test_predict import write_network, write_photo

CPU = torch.device("cpu")

# What a user without this project runs: documented in dstc.export.
ALONE = """
import sys, torch, numpy as np
from PIL import Image
assert "dstc" not in sys.modules
files = {"about.json": ""}
program = torch.export.load("a.pt2", extra_files=files)
images = torch.from_numpy(np.array(Image.open("photo.png")))[None].repeat(2, 1, 1, 1)
np.save("logits.npy", program.module()(images).detach().numpy())
print(files["about.json"])
"""


def test_the_exported_program_needs_torch_alone_and_gives_the_networks_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    photo = write_photo(tmp_path / "photo.png", 48, 32)
    main(["a.pt"])
    assert "a.pt2: for images of 48x32; logits differ by" in capsys.readouterr().out
    alone = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    about = json.loads(alone.stdout)
    assert (about["classes"][1], about["exported_for"]) == ("rail", [48, 32])
    trained = load_trained(tmp_path / "a.pt", CPU)
    with torch.inference_mode():
        expected = trained.network(trained.normalization.apply(torch.from_numpy(np.array(Image.open(photo)))))
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape == (2, 5, 32, 48)
    np.testing.assert_allclose(logits, expected.expand(2, -1, -1, -1).numpy(), atol=1e-4)
    assert logits.std() > 0.1


def test_a_size_must_come_from_the_training_or_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt", input_size=None)
    with pytest.raises(SystemExit):
        main(["a.pt"])
    assert "was trained on images as they are on disk; say for which with --size" in capsys.readouterr().err
    main(["a.pt", "--size", "40x24", "--out", "deep/b.pt2"])
    assert (tmp_path / "deep/b.pt2").is_file()


def test_a_program_that_differs_from_its_network_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = load_trained(write_network(tmp_path / "a.pt"), CPU)
    monkeypatch.setattr("dstc.export.TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="so it was not kept"):
        export_network(trained, (32, 32), tmp_path / "a.pt2")
    assert not (tmp_path / "a.pt2").exists()
