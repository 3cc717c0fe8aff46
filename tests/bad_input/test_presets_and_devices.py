"""The tables of bad presets and of devices that are not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dstc.presets import main
from tests.bad_input.conftest import SCRIPTS, name_of, set_params
from tests.bad_input.test_params_yaml import CONTAINS_TOO_MUCH, explosion
from tests.preparation.trees import PROJECT

PRESETS: dict[str, tuple[str | bytes, list[str], str]] = {
    # what is in presets/mine.yaml, what is typed, what is said
    "no such preset": (
        "",
        ["gta_cityscapes"],
        "preset 'gta_cityscapes': there is none of that name; did you mean 'gta5_",
    ),
    "a path": ("", ["../params"], "preset '../params': there is none of that name"),
    "a part": ("", ["_released"], "preset '_released': there is none of that name"),
    "empty": ("", ["mine"], "presets/mine.yaml: must hold a mapping of sections, not NoneType"),
    "a list": ("- a\n", ["mine"], "presets/mine.yaml: must hold a mapping of sections, not list"),
    "not YAML": ("a: [\n", ["mine"], "presets/mine.yaml: not valid YAML"),
    "not text": (b"\xff", ["mine"], "presets/mine.yaml: not valid YAML"),
    "aliases that explode": (explosion("[{}]"), ["mine"], CONTAINS_TOO_MUCH),
    "a key twice": ("seed: 1\nseed: 2\n", ["mine"], "presets/mine.yaml: not valid YAML"),
    "an unknown key": (
        "optim: {momentun: 0.9}\n",
        ["mine"],
        "with preset 'mine': optim.momentun: unknown key; did you",
    ),
    "a wrong value": ("optim: {momentum: 2}\n", ["mine"], "optim.momentum: must be less than 1, not 2"),
    "a value for a section": ("optim: 3\n", ["mine"], "optim: must be a valid dictionary"),
    "a number as key": ("3: 4\n", ["mine"], "3: Keys should be strings"),
    "extends nothing": ("extends: nothing\n", ["mine"], "presets/mine.yaml: extends: there is no 'nothing'"),
    "extends a list": ("extends: [[mine]]\n", ["mine"], "presets/mine.yaml: extends: there is no '['mine']'"),
    "extends itself": ("extends: mine\n", ["mine"], "presets/mine.yaml: extends itself: mine -> mine"),
    "about in numbers": ("about: 3\n", ["mine"], "presets/mine.yaml: about: must be a str, not 3"),
    "requires a word": ("requires: x\n", ["mine"], "presets/mine.yaml: requires: must be a dict, not 'x'"),
    "requires a path": ("requires: {paths.source: /x}\n", ["mine"], "preset 'mine': paths.source: must be given"),
    "no key": ("seed: 1\n", ["mine", "=3"], "'=3': must be key=value with a dotted key, such as split.size=200"),
    "no value": ("seed: 1\n", ["mine", "seed"], "'seed': must be key=value with a dotted key"),
    "an empty part": ("seed: 1\n", ["mine", "split..size=3"], "'split..size=3': must be key=value with a dotted key"),
    "a value that is no YAML": ("seed: 1\n", ["mine", "seed=["], "'seed=[': not valid YAML"),
    "a wrong typed value": ("seed: 1\n", ["mine", "seed=x"], "seed: must be a valid integer, not 'x'"),
    "an unknown typed key": ("seed: 1\n", ["mine", "sede=3"], "sede: unknown key; did you mean 'seed'?"),
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("flags", [[], ["--flags"]], ids=["merged", "as flags"])
def test_a_bad_preset_is_refused_and_params_yaml_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, flags: list[str]
) -> None:
    content, typed, message = PRESETS[name]
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "presets/mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*typed, *flags])
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert (tmp_path / "params.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()


DEVICES = ["tpu", "gpu", "cuda:99", "cuda:-1", "cuda:x", "CPU", "cpu,cuda", "meta", "mps", "xpu", "0", "a" * 5000]


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_is_not_there_is_refused_with_its_name(refusal: Callable[..., str], device: str) -> None:
    set_params(runtime={"device": device})
    assert refusal("warm_up", "target").startswith(f"error: runtime.device: '{device}' cannot be used here (")


@pytest.mark.parametrize("script", SCRIPTS[4:7], ids=name_of)
def test_every_stage_that_computes_asks_for_the_device_first(
    refusal: Callable[..., str], script: tuple[str, ...]
) -> None:
    set_params(runtime={"device": "cuda:99"})
    assert refusal(*script).startswith("error: runtime.device: 'cuda:99' cannot be used here (")
