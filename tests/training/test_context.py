"""What a training writes down is all that a stranger needs to use the network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dstc.config.params import check_params
from dstc.core.device import processor
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.loaders import Stream
from dstc.models.checkpoints import read_described
from dstc.prediction.trained import load_trained, predict_image
from dstc.training.context import TrainingContext, training_record
from tests.data.small_domain import small_domain
from tests.preparation.trees import raw_params


def test_a_checkpoint_tells_its_classes_its_images_and_where_it_came_from(tmp_path: Path) -> None:
    params = check_params(raw_params(runtime={"device": "cpu", "threads": 1}), "params.yaml")
    target = small_domain(tmp_path / "images", 2, resize=(24, 16))
    context = TrainingContext.of(params, target.classes)
    network = context.networks.new()
    streams = {"target": Stream(target, (tmp_path / "images",), 2, (16, 16))}
    schedule = params.warm_up.target
    record = training_record("warm_up_target", streams=streams, target=target, schedule=schedule, inputs={"i": "0f"})
    context.save(tmp_path / "a.pt", network, **record)

    description, _ = read_described(tmp_path / "a.pt")
    assert description["label_ids"] == [7, 8, 11]
    assert description["data"] == {"target": {"images": 2, "resize": [24, 16]}}
    assert (description["trained"], description["inputs"], description["seed"]) == ("warm_up_target", {"i": "0f"}, 0)
    assert description["schedule"] == schedule.model_dump()
    assert description["model"] == params.model.model_dump()
    assert description["computed_with"] == {
        "runtime.device": f"cpu {processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "runtime.processes": "1",
        "runtime.threads": "1",
        "model.precision": "fp32",
    }

    trained = load_trained(tmp_path / "a.pt", torch.device("cpu"))
    assert (trained.classes.names, trained.input_size) == (target.class_names, (24, 16))
    assert trained.normalization == context.networks.preprocessing
    image = Image.open(tmp_path / "images/00.png")
    label = predict_image([trained], image, size=image.size, device=torch.device("cpu"))
    with torch.inference_mode():
        logits = network.eval()(context.networks.preprocessing.apply(torch.from_numpy(np.array(image))))
    assert np.array_equal(label, logits[0].argmax(0).numpy())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_imitated_bf16_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    monkeypatch.setattr("dstc.training.context.computes_bf16", lambda _: False)
    params = check_params(raw_params(runtime={"device": "cpu"}, model={"precision": precision}), "params.yaml")
    TrainingContext.of(params, CITYSCAPES_19)
    assert ("which this machine seems only to imitate" in capsys.readouterr().out) == (precision == "bf16")
