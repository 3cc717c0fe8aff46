"""The table of bad checkpoints: what co-training says of a warm-up's network that is not what it should be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dstc.core import places
from dstc.core.errors import UserError
from dstc.models.checkpoints import FORMAT, read_tensors
from tests.bad_input.conftest import run_stage, set_params

NETWORK = places.WARM_UP_TARGET / places.NETWORK
SAMPLE = 300


class RunsWhenLoaded:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("it-ran"),)


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[], Any]:
    return lambda: NETWORK.write_bytes(change(NETWORK.read_bytes()))


def content_of(change: Callable[[dict[str, Any]], Any]) -> Callable[[], Any]:
    """Change what is in the file, and save it as torch does."""

    def damage() -> None:
        content = torch.load(NETWORK, weights_only=True)
        torch.save(change(content) or content, NETWORK)

    return damage


def flipped(part: float) -> Callable[[], Any]:
    def change(content: bytes) -> bytes:
        at = int(part * len(content))
        return content[:at] + bytes([content[at] ^ 8]) + content[at + 1 :]

    return bytes_of(change)


def first_state(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def damage(content: dict[str, Any]) -> None:
        key = next(iter(content["state"]))
        content["state"][key] = change(content["state"][key])

    return damage


TABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "missing": (NETWORK.unlink, "not there yet; the stage that makes it comes first"),
    "empty": (bytes_of(lambda _: b""), "cannot be read as weights"),
    "half of it": (bytes_of(lambda whole: whole[: len(whole) // 2]), "cannot be read as weights"),
    "its last byte gone": (bytes_of(lambda whole: whole[:-1]), "cannot be read as weights"),
    "a bit flipped early": (flipped(0.3), "does not match its checksum"),
    "a bit flipped in the middle": (flipped(0.5), "does not match its checksum"),
    "a bit flipped late": (flipped(0.9), "does not match its checksum"),
    "a page of text": (bytes_of(lambda _: b"<html>404</html>"), "is no file of weights"),
    "a folder": (lambda: (NETWORK.unlink(), NETWORK.mkdir()), "is a folder; name the file of weights"),
    "code": (lambda: torch.save({"format": FORMAT, "state": RunsWhenLoaded()}, NETWORK), "loading it could run code"),
    "a whole network": (lambda: torch.save(torch.nn.Linear(1, 1), NETWORK), "loading it could run code"),
    "plain weights": (content_of(lambda content: content["state"]), "without its description"),
    "a number": (content_of(lambda _: 3), "holds no plain state dict"),
    "no description": (content_of(lambda content: content.pop("description") and None), "does not say which classes"),
    "a description of words": (
        content_of(lambda content: content.update(description="x")),
        "does not say which classes",
    ),
    "no model": (
        content_of(lambda content: content["description"].pop("model") and None),
        "does not say which model it",
    ),
    "no weights": (content_of(lambda content: content.pop("state") and None), "holds no plain state dict"),
    "weights that are none": (content_of(first_state(lambda _: 3)), "holds no plain state dict"),
    "a weight that is NaN": (
        content_of(first_state(lambda tensor: tensor.fill_(float("nan")))),
        "1 weights hold NaN or infinity (such as ",
    ),
    "a weight too few": (
        content_of(lambda content: content["state"].popitem() and None),
        "does not fit model.backbone 'narrow_resnet': 1 keys are missing (such as ",
    ),
    "a weight of another shape": (content_of(first_state(lambda tensor: tensor[:1])), "1 shapes differ ("),
    "whole numbers for weights": (content_of(first_state(lambda tensor: tensor.to(torch.int8))), "is torch.int8"),
    "complex weights": (content_of(first_state(lambda tensor: tensor.to(torch.complex64))), "is torch.complex64"),
    "sparse weights": (content_of(first_state(torch.Tensor.to_sparse)), "torch.sparse_coo, on cpu)"),
    "weights without content": (content_of(first_state(lambda tensor: tensor.to("meta"))), "on meta)"),
    "other classes": (
        content_of(lambda content: content["description"]["classes"].reverse()),
        "was trained for the classes ['bicycle', 'motorcycle'",
    ),
    "another normalization": (
        content_of(lambda content: content["description"]["model"].update(normalization="caffe_bgr")),
        "made for model.normalization 'caffe_bgr', but it is 'imagenet_rgb'",
    ),
    "another backbone": (
        lambda: set_params(model={"backbone": "mobilenet_v2"}),
        "made for model.backbone 'narrow_resnet', but it is 'mobilenet_v2'",
    ),
    "another number of classes": (
        content_of(lambda content: content["state"].update(_fewer_outputs(content["state"]))),
        "shapes differ (",
    ),
}


def _fewer_outputs(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value[:16] for key, value in state.items() if len(value.shape) and value.shape[0] == 19}


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_checkpoint_is_refused_by_its_name(project: Path, refusal: Callable[..., str], name: str) -> None:
    damage, message = TABLE[name]
    damage()
    shown = refusal("co_train")
    assert shown.startswith("error: data/warm_up_")
    assert message in shown
    assert not (project / "it-ran").exists()


def test_a_bit_flipped_anywhere_is_found_or_changes_nothing(project: Path) -> None:
    whole, drawn = (project / NETWORK).read_bytes(), random.Random(0)
    before = torch.load(project / NETWORK, weights_only=True)
    found = 0
    for _ in range(SAMPLE):
        at = drawn.randrange(len(whole))
        (project / NETWORK).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << drawn.randrange(8)]) + whole[at + 1 :])
        try:
            after = read_tensors(project / NETWORK)
        except UserError:
            found += 1
        else:
            assert after["description"] == before["description"]
            assert all(torch.equal(value, before["state"][key]) for key, value in after["state"].items())
    assert found > SAMPLE * 0.8  # the others fell on padding


@pytest.mark.parametrize("content", [[1, 2], {"iteration": 2, "run": "warm_up_target-0123456789abcdef"}])
@pytest.mark.usefixtures("project")
def test_a_state_of_another_run_is_not_taken_up_wherever_it_lies(
    content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage("warm_up", "target")
    (state,) = Path(".work/runs").glob("warm_up_target-*/state.pt")
    torch.save(content, state)
    capsys.readouterr()
    run_stage("warm_up", "target")
    out = capsys.readouterr().out
    assert f"starts over, for the saved state cannot be used: {state} is not of this run" in out
    assert "2 iterations in" in out


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
@pytest.mark.usefixtures("project")
def test_a_damaged_note_of_another_run_is_passed_over(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage("warm_up", "target")
    (state,) = Path(".work/runs").glob("warm_up_target-*/state.pt")
    (state.parent / "finished").unlink()
    (state.parent / "manifest.json").write_bytes(content)
    set_params(**{"": {"seed": 3}})
    run_stage("warm_up", "target")
    assert "goes on" not in capsys.readouterr().out


def test_a_state_that_was_damaged_starts_anew_and_says_why(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage("warm_up", "target")
    whole = (project / NETWORK).read_bytes()
    (state,) = (project / ".work/runs").glob("*/state.pt")
    content = state.read_bytes()
    state.write_bytes(
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    )
    capsys.readouterr()
    run_stage("warm_up", "target")
    assert "starts over, for the saved state cannot be used" in capsys.readouterr().out
    assert (project / NETWORK).read_bytes() == whole
