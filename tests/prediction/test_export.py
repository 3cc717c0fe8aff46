import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.export.passes import move_to_device_pass

from dstc.export import main
from dstc.models.weights import read_weights
from dstc.prediction.programs import FOR_ONNX, PROGRAMS, write_program
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


def test_the_program_moves_to_another_device_by_torchs_own_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    main(["a.pt"])
    program = move_to_device_pass(torch.export.load("a.pt2"), "meta")  # a device that every machine has beside the CPU
    logits = program.module()(torch.zeros(2, 32, 48, 3, dtype=torch.uint8, device="meta"))
    assert (logits.device.type, logits.shape) == ("meta", (2, 5, 32, 48))


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


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_a_program_that_differs_from_its_network_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    trained = [load_trained(write_network(tmp_path / "a.pt"), CPU)]
    monkeypatch.setattr("dstc.prediction.programs.TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="so it was not kept"):
        write_program(trained, (32, 32), tmp_path / f"b{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


# What a user without torch and this project runs: documented in dstc.export.
ALONE_WITH_ONNX = """
import sys, onnxruntime, numpy as np
from PIL import Image
assert not {"dstc", "torch"} & set(sys.modules)
session = onnxruntime.InferenceSession("a.onnx")
images = np.array(Image.open("photo.png"))[None].repeat(2, 0)
np.save("logits.npy", session.run(["logits"], {"images": images})[0])
print(session.get_modelmeta().custom_metadata_map["about.json"])
"""


def test_the_onnx_model_needs_onnxruntime_alone_and_gives_the_networks_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in FOR_ONNX:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    photo = write_photo(tmp_path / "photo.png", 48, 32)
    main(["a.pt", "--out", "a.onnx"])
    assert "a.onnx: for images of 48x32; logits differ by" in capsys.readouterr().out
    alone = subprocess.run(
        [sys.executable, "-I", "-c", ALONE_WITH_ONNX], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    about = json.loads(alone.stdout)
    assert (about["classes"][1], about["exported_for"]) == ("rail", [48, 32])
    trained = load_trained(tmp_path / "a.pt", CPU)
    with torch.inference_mode():
        expected = trained.network(trained.normalization.apply(torch.from_numpy(np.array(Image.open(photo)))))
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits, expected.expand(2, -1, -1, -1).numpy(), atol=1e-3)
    assert logits.std() > 0.1


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_the_average_of_networks_is_one_program_whose_softmax_is_their_mean_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [write_network(tmp_path / f"{seed}.pt", seed=seed) for seed in (1, 2, 3)]
    main(["1.pt", "--average-with", "2.pt", "--average-with", "3.pt", "--out", f"all{ending}"])
    images = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    trained = [load_trained(path, CPU) for path in paths]
    with torch.inference_mode():
        each = [one.network(one.normalization.apply(images)).softmax(1) for one in trained]
    found = PROGRAMS[ending][1](tmp_path / f"all{ending}")(images).detach().softmax(1)
    np.testing.assert_allclose(found, sum(each) / 3, atol=1e-5)
    assert float((each[0] - each[1]).abs().max()) > 0.01


def test_several_networks_are_no_safetensors_and_must_be_of_the_same_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    write_network(tmp_path / "b.pt", input_size=(32, 32))
    assert "--average-with: c.safetensors would hold one network's weights; write .pt2 or .onnx" in refused(
        ["a.pt", "--average-with", "a.pt", "--out", "c.safetensors"], capsys
    )
    assert "b.pt: cannot be averaged with a.pt: its size of images" in refused(
        ["a.pt", "--average-with", "b.pt"], capsys
    )


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_onnx_without_its_packages_is_one_message_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    monkeypatch.setattr("dstc.prediction.programs.find_spec", lambda name: None if name == "onnxscript" else name)
    message = refused(["a.pt", "--out", "a.onnx"], capsys)
    assert message == (
        "error: a.onnx: ONNX takes onnxscript, not installed here: pip install onnx onnxscript onnxruntime\n"
    )
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("out", ["a.pth", "a", "a.onnx.zip"])
def test_an_ending_of_no_known_format_is_refused_with_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.pt")
    assert f"--out {out}: its ending names no known format; known are .pt2, .onnx, .safetensors" in refused(
        ["net.pt", "--out", out], capsys
    )
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


def test_as_safetensors_a_checkpoint_stays_what_it_is_for_predict_and_for_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    main(["a.pt", "--out", "a.safetensors"])
    main(["a.safetensors", "--out", "again.safetensors"])
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "a.pt").stat().st_mode
    one, other = load_trained(tmp_path / "a.pt", CPU), load_trained(tmp_path / "a.safetensors", CPU)
    assert (one.classes, one.normalization, one.input_size, one.label_ids, one.description) == (
        other.classes, other.normalization, other.input_size, other.label_ids, other.description
    )  # fmt: skip
    expected = one.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in other.network.state_dict().items())
    first, second = read_weights(tmp_path / "a.pt"), read_weights(tmp_path / "a.safetensors")
    assert (first.kind, first.made_for, first.classes) == (second.kind, second.made_for, second.classes)
    assert "leave --size out" in refused(["a.pt", "--out", "b.safetensors", "--size", "32x32"], capsys)
