"""docs/own_data.md, run as it is written: its commands in their order, on a data set of five classes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from tests.five_classes import HOUSE, MEADOW, PATH, SKY, TREE, write_data
from tests.pipeline.project import ROOT, Project, small_project

PAGE = (ROOT / "docs/own_data.md").read_text()
BLOCK = re.compile(r"^(<!-- not run by the test: .* -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
YAML_FROM = "  own: # give the classes their names"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project as it is shipped but for threads and workers, in a repository of its own; the data beside it."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "project").mkdir()
    project = small_project(folder / "project")
    shutil.copy2(ROOT / "params.yaml", project.root / "params.yaml")
    project.edit_params({"runtime": {"workers": 0, "device": "cpu", "threads": 1}})
    write_data(folder / "data")
    _write_weights(folder / "torch/hub/checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        yield project


def _write_weights(folder: Path) -> None:
    """Random weights where torchvision would keep those that it has downloaded, so that the page needs no network."""
    folder.mkdir(parents=True)
    name = MobileNet_V2_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(mobilenet_v2(weights=None).state_dict(), folder / name)


def edited(preset: str, block: str) -> str:
    """The draft with its section `own` replaced by the page's."""
    head, rest = preset.split(YAML_FROM)
    return head + block + "\n" + rest[rest.index("split:") :]


def test_the_page_leads_from_two_folders_to_a_network_and_its_pictures(project: Project) -> None:
    data = str(project.root.parent / "data")
    printed, kinds = "", []
    for skipped, kind, text in BLOCK.findall(PAGE):
        if skipped:
            continue
        kinds.append(kind)
        if kind == "bash":
            reply = [project.ok("bash", "-e", "-c", line) for line in text.replace("/data/", f"{data}/").splitlines()]
            printed = "\n".join(one.text for one in reply)
        elif kind == "text":  # progress lines of the checks stand between
            assert text.strip() in "\n".join(line for line in printed.splitlines() if " in 00:" not in line)
        elif kind == "yaml":
            preset = project.root / "presets/own.yaml"
            preset.write_text(edited(preset.read_text(), text))
    assert kinds == ["bash", "text", "yaml", "bash", "text", "bash", "bash"]
    _results_are_as_promised(project.root, Path(data))


def _results_are_as_promised(root: Path, data: Path) -> None:
    scores = json.loads((root / "metrics/scores.json").read_text())["half"]["source_biased"]
    assert list(scores["iou"]) == ["sky", "meadow", "path", "tree", "house"]
    assert json.loads((root / "metrics/summary.json").read_text())["labeled_images"] == 6
    assert len(list((root / "metrics/pictures").glob("*.png"))) == 6
    about = json.loads((root / "predictions/about.json").read_text())
    assert [entry["label_id"] for entry in about["classes"]] == [SKY, MEADOW, PATH, TREE, HOUSE]
    assert about["classes"][-1]["color"] == [0xDC, 0x3C, 0x32]
    for image in (data / "photos/val/images").iterdir():
        predicted = np.asarray(Image.open(root / "predictions/label_ids" / image.name))
        assert predicted.shape == Image.open(image).size[::-1]
        assert set(np.unique(predicted)) <= {SKY, MEADOW, PATH, TREE, HOUSE}
