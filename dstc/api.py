"""What other programs import of this project (docs/api.md): trained networks, the method's terms, one co-training step.

No stage imports this module.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from dstc.co_training.step import Method, co_training_step
from dstc.core.batches import LabeledBatch
from dstc.core.device import choose_device
from dstc.core.errors import UserError
from dstc.core.taxonomy import IGNORE
from dstc.evaluation.inference import ONE_VIEW, Views
from dstc.method.batches import CoTrainingBatch
from dstc.method.class_mix import class_mix, paste_mask, sample_half_of_classes
from dstc.method.cross_domain_combination import combine_whole_images, combine_within_images
from dstc.method.cross_supervision import confident_share, pseudo_label, teacher_mode
from dstc.method.domain_specific_initialization import Branches, initialize_branches
from dstc.method.target_preferred_alignment import class_prototypes, class_sums, target_preferred_alignment
from dstc.prediction.trained import load_trained, predict_image, refuse_unlike, size_seen
from dstc.training.cross_entropy import cross_entropy
from dstc.training.learner import Learner

__all__ = [
    "IGNORE",
    "Branches",
    "CoTrainingBatch",
    "LabeledBatch",
    "Learner",
    "Method",
    "Predictor",
    "UserError",
    "Views",
    "class_mix",
    "class_prototypes",
    "class_sums",
    "co_training_step",
    "combine_whole_images",
    "combine_within_images",
    "confident_share",
    "cross_entropy",
    "initialize_branches",
    "paste_mask",
    "pseudo_label",
    "sample_half_of_classes",
    "target_preferred_alignment",
    "teacher_mode",
]


class Predictor:
    """Label images with one trained network, or with the mean of several."""

    def __init__(
        self,
        *checkpoints: str | PathLike[str],
        device: str = "auto",
        views: Views = ONE_VIEW,
        weights: Literal["ema", "last"] = "ema",
    ) -> None:
        """Of checkpoints (.pt, .safetensors); `views` is test-time augmentation, `weights` "ema" takes the averaged network
        of a checkpoint that holds one. Raise UserError where a file is no checkpoint."""
        if not checkpoints:
            raise UserError("Predictor: needs a checkpoint, such as data/co_train/source_biased.pt")
        self.device, self.views = choose_device(device, "device"), views
        self.networks = [load_trained(Path(path), self.device, weights) for path in checkpoints]
        refuse_unlike(self.networks)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the train ids."""
        return self.networks[0].classes.names

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Train ids, uint8 (H, W), of an RGB image, uint8 (H, W, 3), seen with as many pixels as the training's images."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UserError(f"image: must be uint8 (H, W, 3), RGB, not {image.dtype} {image.shape}")
        picture = Image.fromarray(image)
        size = size_seen(picture.size, self.networks[0].input_size)
        return predict_image(self.networks, picture, size=size, views=self.views, device=self.device)
