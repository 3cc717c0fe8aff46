"""A trained network as its checkpoint describes it: no params.yaml and no index is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.taxonomy import Classes
from dstc.evaluation.inference import ONE_VIEW, Views, average, class_scores, predict
from dstc.models.checkpoints import load_strictly, read_described
from dstc.models.networks import NetworkBuilder
from dstc.models.normalization import Normalization
from dstc.models.segmentation import SegmentationNetwork

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Trained:
    """A network in eval mode and what it takes to use it.

    `input_size` is the size that the target's images were brought to while it was trained, None where they kept their
    own; `label_ids` are the ids that the target's label files hold for the classes, None where they hold colors.
    """

    path: Path
    network: SegmentationNetwork
    classes: Classes
    normalization: Normalization
    input_size: Size | None
    label_ids: tuple[int, ...] | None
    description: Mapping[str, Any]


def load_trained(path: Path, device: torch.device, weights: str = "ema") -> Trained:
    """Read a checkpoint of this project, of its two networks the one that `weights` names ("ema" or "last"); raise
    UserError where it is none."""
    description, state = read_described(path, weights)
    model = {"initial_weights": "none", "backbone_weights": "trained", **description["model"]}  # no matter once trained
    missing = [key for key in ("colors", "normalization", "input_size", "label_ids") if key not in description]
    missing += [f"model.{key}" for key in NetworkBuilder.parameters() if key not in model]
    if missing:
        raise UserError(f"{path}: was written before checkpoints told {', '.join(missing)}; retrain it")
    classes = Classes(tuple(description["classes"]), tuple((r, g, b) for r, g, b in description["colors"]))
    n, size = description["normalization"], description["input_size"]
    # Every weight is about to be replaced, whatever the seed.
    network = NetworkBuilder.of(model, classes, seed=0, device=device).bare()
    load_strictly(network, state, f"{path}: does not fit the network that it says it is of")
    ids = description["label_ids"]
    return Trained(
        path,
        network.to(device).eval(),
        classes,
        Normalization(n["bgr"], n["scale"], tuple(n["mean"]), tuple(n["std"])),
        (size[0], size[1]) if size else None,
        tuple(ids) if ids else None,
        description,
    )


def refuse_unlike(trained: Sequence[Trained]) -> None:
    """Raise UserError unless the networks' predictions can be averaged."""
    first = trained[0]
    for other in trained[1:]:
        for what, one, another in (
            ("classes", first.classes.names, other.classes.names),
            ("size of images", first.input_size, other.input_size),
        ):
            if one != another:
                raise UserError(
                    f"{other.path}: cannot be averaged with {first.path}: its {what} {another} is not {one}"
                )


def size_seen(own: Size, trained: Size | None) -> Size:
    """The size at which a network should see an image: with as many pixels as those that it was trained on, in the
    image's own shape. What looked 30 pixels tall in training then does so again, whatever camera took the image."""
    if trained is None:
        return own
    factor = (trained[0] * trained[1] / (own[0] * own[1])) ** 0.5
    return max(1, round(factor * own[0])), max(1, round(factor * own[1]))


@torch.inference_mode()
def predict_image(
    trained: Sequence[Trained], image: Image.Image, *, size: Size, views: Views = ONE_VIEW, device: torch.device
) -> np.ndarray:
    """Train ids, uint8 (H, W), of an RGB image at its own size, seen at `size` (bicubic, as in training); the mean of the
    class probabilities where there are several networks. As the stage evaluate does it in its full protocol."""
    seen = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(seen)).to(device)
    scores = [class_scores(one.network, one.normalization.apply(pixels), views) for one in trained]
    return predict(average(scores, views), (image.height, image.width))[0].to(torch.uint8).cpu().numpy()
