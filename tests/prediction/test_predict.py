"""The command as a user types it, on small networks whose weights are random."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dstc.data.loaders import ValidationImages
from dstc.evaluation.inference import Views, average, class_scores
from dstc.evaluation.protocols import evaluate
from dstc.export import main as export_main
from dstc.models.checkpoints import read_described, save_network
from dstc.models.normalization import NORMALIZATIONS
from dstc.predict import main
from dstc.prediction.trained import load_trained, predict_image, size_seen
from tests.models.small import small_network
from tests.pipeline.project import ROOT

CPU = torch.device("cpu")
NAMES, COLORS = (
    ["road", "rail", "sky", "car", "tree"],
    [[1, 2, 3], [40, 50, 60], [70, 80, 90], [100, 0, 0], [0, 100, 0]],
)


def write_network(
    path: Path, seed: int = 0, backbone: str = "narrow_resnet", head: str = "deeplab_v2", **changes: object
) -> Path:
    """A checkpoint of five classes, as `TrainingContext.save` would write it."""
    network = small_network(seed, backbone=backbone, head=head)
    with torch.no_grad():  # random classifiers would see the same class everywhere
        for conv in network.classifier.modules():
            if isinstance(conv, nn.Conv2d) and conv.out_channels == len(NAMES):
                conv.weight.mul_(30)
    n = NORMALIZATIONS["imagenet_rgb"]
    described = {
        "classes": NAMES,
        "colors": COLORS,
        "normalization": {"bgr": n.bgr, "scale": n.scale, "mean": list(n.mean), "std": list(n.std)},
        "model": {
            "backbone": backbone,
            "stride_on": "first_conv",
            "normalization": "imagenet_rgb",
            "batch_norm_affine": "trained",
            "batch_norm_statistics": "batch",
            "precision": "fp32",
            **({} if head == "deeplab_v2" else {"head": head}),  # as files from before it was a parameter
        },
        "input_size": [48, 32],
        "label_ids": [7, 300, 23, 26, 21],
        "trained": "source_biased",
    }
    save_network(path, network, described | changes)
    return path


def write_photo(path: Path, width: int, height: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(len(str(path.name))).integers(
        0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8
    )
    Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width]).save(path, **options)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "a.pt")
    write_photo(tmp_path / "photos/one.png", 96, 64)
    write_photo(tmp_path / "photos/deep/two.jpg", 50, 70)
    return tmp_path


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_kind_of_result_is_written_at_the_images_own_size_and_they_agree(here: Path) -> None:
    main(["a.pt", "photos", "--device", "cpu"])
    expected = [f"{kind}/{name}.png" for kind in ("colors", "label_ids", "train_ids") for name in ("deep/two", "one")]
    assert files(here / "predictions") == sorted(["about.json", "overlays/deep/two.jpg", "overlays/one.jpg", *expected])
    for name, size in (("one", (64, 96)), ("deep/two", (70, 50))):
        train_ids, ids, colors = (
            read(here / f"predictions/{kind}/{name}.png") for kind in ("train_ids", "label_ids", "colors")
        )
        assert train_ids.shape == ids.shape == colors.shape[:2] == size
        assert len(np.unique(train_ids)) > 1
        assert np.array_equal(ids, np.array([7, 300, 23, 26, 21])[train_ids])
        assert np.array_equal(colors, np.array(COLORS)[train_ids])
    overlay = read(here / "predictions/overlays/one.jpg").astype(float)
    halfway = read(here / "photos/one.png") / 2 + read(here / "predictions/colors/one.png") / 2
    assert abs(overlay - halfway).mean() < 10  # JPEG


def test_no_folder_is_listed_for_each_image(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time for many images would be quadratic in their number."""
    listed: list[str] = []
    for name in ("listdir", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", real=real: listed.append(os.fspath(path)) or real(path))
    for number in range(3):
        write_photo(here / f"photos/more{number}.png", 96, 64)
    main(["a.pt", "photos", "--device", "cpu", "--out", "out"])
    assert sorted(listed) == ["photos", "photos/deep"]
    assert len(files(here / "out/overlays")) == 5


@pytest.mark.usefixtures("here")
def test_an_exported_program_is_no_network_to_predict_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["a.pt2", "photos"])
    assert (
        "a.pt2: is an exported program, which needs none of this project; name the checkpoint"
        in capsys.readouterr().err
    )


def test_a_reader_that_has_read_enough_ends_it_without_a_traceback(here: Path) -> None:
    command = f"{sys.executable} -m dstc.predict a.pt | true"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert ended.stderr == b""


def test_about_json_says_what_the_values_mean_and_how_they_came_to_be(here: Path) -> None:
    main(["a.pt", "photos", "--flip", "--scales", "0.5,1"])
    about = json.loads((here / "predictions/about.json").read_text())
    assert about["classes"][1] == {"train_id": 1, "label_id": 300, "name": "rail", "color": [40, 50, 60]}
    assert about["views"] == {"flip": True, "scales": [0.5, 1.0], "window": None}
    assert about["seen_at"] == "as many pixels as 48x32"
    assert (about["written"], about["weights"]) == (["train_ids", "label_ids", "colors", "overlays"], "ema")
    assert [network["file"] for network in about["averaged_networks"]] == ["a.pt"]
    assert about["averaged_networks"][0]["trained"] == "source_biased"


def by_hand(network_files: list[str], image: Path, size: tuple[int, int], views: Views) -> np.ndarray:
    pixels = Image.open(image)
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.BICUBIC)
    batch = NORMALIZATIONS["imagenet_rgb"].apply(torch.from_numpy(np.array(pixels)))
    with torch.inference_mode():
        scores = [class_scores(load_trained(Path(file), CPU).network, batch, views) for file in network_files]
        score = average(scores, views)
        own = Image.open(image).size[::-1]
        enlarged = torch.nn.functional.interpolate(score, own, mode="bilinear", align_corners=False)
    return (score if size[::-1] == own else enlarged)[0].argmax(0).numpy()


@pytest.mark.parametrize(
    ("options", "size", "views"),
    [
        ([], (48, 32), Views()),
        (["--own-size"], (96, 64), Views()),
        (["--size", "64x64"], (64, 64), Views()),
        (["--own-size", "--window", "48x32"], (96, 64), Views(window=(48, 32))),
        (["--flip", "--scales", "0.5,1,1.5"], (48, 32), Views(flip=True, scales=(0.5, 1.0, 1.5))),
    ],
)
@pytest.mark.parametrize("average_with", [[], ["b.pt"]])
def test_options_do_what_they_say(
    here: Path, options: list[str], size: tuple[int, int], views: Views, average_with: list[str]
) -> None:
    write_network(here / "b.pt", seed=1)
    more = [word for path in average_with for word in ("--average-with", path)]
    main(["a.pt", "photos/one.png", "--write", "train_ids", *options, *more])
    predicted = read(here / "predictions/train_ids/one.png")
    assert np.array_equal(predicted, by_hand(["a.pt", *average_with], here / "photos/one.png", size, views))
    if average_with:
        assert not np.array_equal(predicted, by_hand(["a.pt"], here / "photos/one.png", size, views))


@pytest.mark.parametrize(("options", "same_as"), [([], "average.pt"), (["--weights", "last"], "a.pt")])
def test_of_a_checkpoint_with_two_networks_the_averaged_one_is_taken_unless_the_last_is_asked_for(
    here: Path, options: list[str], same_as: str
) -> None:
    write_network(here / "average.pt", seed=1)
    description, _ = read_described(here / "a.pt")
    networks = [load_trained(here / name, CPU).network for name in ("a.pt", "average.pt")]
    save_network(here / "both.pt", networks[0], description, networks[1])
    main(["both.pt", "photos/one.png", "--write", "train_ids", *options])
    predicted = read(here / "predictions/train_ids/one.png")
    assert np.array_equal(predicted, by_hand([same_as], here / "photos/one.png", (48, 32), Views()))
    export_main(["both.pt", "--out", "both.safetensors", *options])
    exported, kept = load_trained(here / "both.safetensors", CPU), load_trained(here / same_as, CPU)
    state = kept.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in exported.network.state_dict().items())


def test_what_predict_writes_scores_as_evaluate_does(here: Path) -> None:
    """The same images through the stage's functions: the same confusion matrix, pixel for pixel."""
    from tests.data.small_domain import small_domain

    index = small_domain(here / "val", 3, size=(96, 64), resize=(48, 32))
    index = type(index)(**{**vars(index), "class_names": tuple(NAMES), "class_colors": tuple(map(tuple, COLORS))})
    trained = load_trained(here / "a.pt", CPU)
    batches = list(ValidationImages(index, (here / "val",)).batches(2, 0))
    confusion = evaluate(
        dict.fromkeys(("source_biased", "target_biased"), trained.network),
        batches,
        normalize=trained.normalization.apply,
        num_classes=5,
        protocols=["full"],
        device=CPU,
    )
    counts = np.zeros((5, 5), np.int64)
    main(["a.pt", "val/0[0-9].png", "--size", "48x32", "--write", "train_ids"])
    for _, _, own_labels, names in batches:
        for label, name in zip(own_labels.numpy(), names, strict=True):
            predicted = read(here / f"predictions/train_ids/{Path(name).stem}.png")
            known = label != 255
            np.add.at(counts, (label[known], predicted[known]), 1)
    assert np.array_equal(confusion["full"]["source_biased"].counts.numpy(), counts)


def test_files_and_patterns_are_named_from_the_folder_that_they_share(here: Path) -> None:
    write_photo(here / "photos/deep/one.png", 16, 16)
    main(["a.pt", "photos/**/*.png", "--write", "train_ids"])
    assert files(here / "predictions/train_ids") == ["deep/one.png", "one.png"]


def test_results_of_an_earlier_run_are_not_taken_for_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for note in ("", "note: 2 images below --out photos/labeled are passed over"):
        main(["a.pt", "photos", "--out", "photos/labeled", "--write", "colors"])
        assert capsys.readouterr().out.startswith(note or "photos/labeled: 2 images")
    assert files(here / "photos/labeled") == ["about.json", "colors/deep/two.png", "colors/one.png"]


def test_an_image_that_a_camera_took_sideways_is_labeled_as_viewers_show_it(here: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photo(here / "turned.jpg", 48, 32, exif=exif)
    main(["a.pt", "turned.jpg", "--write", "train_ids"])
    assert read(here / "predictions/train_ids/turned.png").shape == (48, 32)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code != 0
    return capsys.readouterr().err


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_labeled(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos/broken.png").write_bytes(b"no image")
    told = refusal(capsys, "a.pt", "photos", "--write", "train_ids")
    assert "error: 1 of 3 images lack results:\nerror: photos/broken.png: cannot be decoded" in told
    assert files(here / "predictions/train_ids") == ["deep/two.png", "one.png"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("no"), "96x64, seen by the network, or scores of"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "96x64, seen by the network, or scores of"),
        (MemoryError(), "too large for the memory of this machine"),
    ],
)
def test_an_image_that_the_memory_does_not_hold_is_named_and_the_others_are_labeled(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def predict(trained: Any, image: Image.Image, **options: Any) -> Any:
        if image.size == (96, 64):
            raise error
        return predict_image(trained, image, **options)

    monkeypatch.setattr("dstc.predict.predict_image", predict)
    told = refusal(capsys, "a.pt", "photos", "--own-size", "--write", "train_ids")
    assert f"error: 1 of 2 images lack results:\nerror: photos/one.png: {message}" in told
    assert files(here / "predictions/train_ids") == ["deep/two.png"]


def test_a_result_that_cannot_be_written_is_named_and_the_others_are_labeled(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JPEG knows no more than 65,535 pixels a side."""
    Image.new("RGB", (65_536, 16)).save(here / "photos/wide.png")
    told = refusal(capsys, "a.pt", "photos", "--write", "overlays")
    assert "error: 1 of 3 images lack results:\nerror: predictions/overlays/wide.jpg: " in told
    assert "None" not in told
    assert files(here / "predictions/overlays") == ["deep/two.jpg", "one.jpg"]


def test_a_very_large_image_is_labeled_if_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # refused is what has more than twice as many
    command = ["a.pt", "photos/one.png", "--window", "32x32", "--own-size", "--write", "train_ids"]
    told = refusal(capsys, *command)
    assert "photos/one.png: Image size (6144 pixels) exceeds limit of 200 pixels; cut it into tiles" in told
    assert "--allow-large" in told
    main([*command, "--allow-large"])
    assert read(here / "predictions/train_ids/one.png").shape == (64, 96)


def test_what_systems_leave_in_folders_is_no_image_of_a_pattern_or_folder(here: Path) -> None:
    write_photo(here / "photos/@eaDir/one.png", 8, 8)
    write_photo(here / "photos/__MACOSX/._one.png", 8, 8)
    main(["a.pt", "photos/**/*.png", "--write", "train_ids", "--out", "by_pattern"])
    main(["a.pt", "photos", "--write", "train_ids", "--out", "by_folder"])
    assert files(here / "by_pattern/train_ids") == ["one.png"]
    assert files(here / "by_folder/train_ids") == ["deep/two.png", "one.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.pt", "nowhere"], "error: nowhere: no such file or folder\n"),
        (["a.pt", "*.gif"], "error: *.gif: no image has such a name; known endings are .bmp, "),
        (["a.pt", "photos", "--out", "a.pt"], "error: --out a.pt: is a file; name a folder\n"),
        (["a.pt", "photos", "--out", "."], "error: photos: holds only what lies below --out ., where images"),
        (["photos", "photos"], "error: photos: is a folder; name the file of weights in it\n"),
        (["none.pt", "photos"], "error: none.pt: no such file of weights\n"),
        (["photos/one.png", "photos"], "error: photos/one.png: holds more than tensors, or is no file of weights"),
        (
            ["a.pt", "photos", "--average-with", "other.pt"],
            "error: other.pt: cannot be averaged with a.pt: its classes",
        ),
        (
            ["colors.pt", "photos", "--write", "label_ids"],
            "error: --write label_ids: the labels of colors.pt were colors",
        ),
        (["old.pt", "photos"], "error: old.pt: was written before checkpoints told input_size, model.precision"),
        (["foreign.pt", "photos"], "error: foreign.pt: was trained with model.backbone 'resnet152', which"),
        (["a.pt", "photos", "--scales", "0,1"], "argument --scales: '0,1': must be numbers from 0.1 to 10"),
        (["a.pt", "photos", "--threads", "-1"], "argument --threads: '-1': must be a whole number from 0 to 1024"),
        (["a.pt", "photos", "--threads", "99999999"], "argument --threads: '99999999': must be a whole"),
        (
            ["a.pt", "photos", "--window", "8x8"],
            "argument --window: '8x8': must be WIDTHxHEIGHT in pixels, each at",
        ),
        (["a.pt", "photos", "--size", "30000x30000"], "argument --size: '30000x30000': must be WIDTHxHEIGHT"),
        (
            ["a.pt", "photos", "--write", "masks"],
            "argument --write: masks: known are train_ids, label_ids, colors, overlays",
        ),
        (["a.pt", "photos", "--device", "tpu"], "error: --device: 'tpu' cannot be used here"),
        (["a.pt", "photos", "same/one.jpg"], "both results would be called one; predict them in two runs"),
    ],
)
def test_mistakes_are_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_network(here / "other.pt", classes=["road", "rail", "sky", "car", "bush"])
    write_network(here / "colors.pt", label_ids=None)
    write_photo(here / "same/one.jpg", 8, 8)
    description, state = read_described(here / "a.pt")
    del description["input_size"]
    del description["model"]["precision"]
    torch.save({"format": "dstc network 1", "description": description, "state": state}, here / "old.pt")
    description["model"]["backbone"] = "resnet152"
    torch.save({"format": "dstc network 1", "description": description, "state": state}, here / "foreign.pt")
    assert message in refusal(capsys, *arguments)
    assert not (here / "predictions").exists()


def test_without_images_the_checkpoint_tells_of_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(here / "a.pt")])
    told = capsys.readouterr().out.splitlines()
    assert 'classes: ["road", "rail", "sky", "car", "tree"]' in told
    assert "input_size: [48, 32]" in told


@pytest.mark.parametrize(
    ("own", "trained", "seen"),
    [
        ((2048, 1024), (1024, 512), (1024, 512)),
        ((1024, 2048), (1024, 512), (512, 1024)),
        ((100, 100), (200, 50), (100, 100)),
        ((640, 480), None, (640, 480)),
        ((5000, 1), (16, 16), (1131, 1)),
    ],
)
def test_an_image_is_seen_with_as_many_pixels_as_in_training(
    own: tuple[int, int], trained: tuple[int, int] | None, seen: tuple[int, int]
) -> None:
    assert size_seen(own, trained) == seen
