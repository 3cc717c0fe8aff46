"""The setting that every training of a run shares: what the sections `model`, `optim`, `runtime` and `seed` come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dstc.config.params import Params
from dstc.config.sections import Model, Optim, Runtime, Training
from dstc.core import processes
from dstc.core.device import choose_device, computing, set_up
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex
from dstc.core.randomness import stream_seed
from dstc.core.taxonomy import Classes
from dstc.data.loaders import Crops, Share, Stream
from dstc.method.batches import LabeledBatch
from dstc.method.division import Division
from dstc.models.batch_norm import batch_norms, synchronize
from dstc.models.checkpoints import save_network
from dstc.models.deeplab_v2 import DeepLabV2, build_network
from dstc.models.gradient_checkpointing import checkpoint_blocks
from dstc.models.normalization import NORMALIZATIONS, Normalization
from dstc.models.weights import FORM, Form, Weights, initial_weights, read_checkpoint
from dstc.training.class_weights import inverse_log_weights
from dstc.training.optimizer import build_optimizer
from dstc.training.step import Learner


@dataclass(frozen=True)
class Setting:
    """Builds networks, learners and batches that agree with each other."""

    model: Model
    optim: Optim
    runtime: Runtime
    seed: int
    classes: Classes
    device: torch.device

    @classmethod
    def of(cls, params: Params, classes: Classes) -> Setting:
        set_up(params.runtime.threads)
        device = choose_device(params.runtime.device)
        return cls(params.model, params.optim, params.runtime, params.seed, classes, device)

    @property
    def normalization(self) -> Normalization:
        return NORMALIZATIONS[self.model.normalization]

    @property
    def form(self) -> Form:
        """What this setting's networks and their weights must agree in."""
        return self.model.model_dump(include=set(FORM))

    def suited_to(self, weights: Weights) -> Setting:
        """This setting with the form of network and the preprocessing that the weights are made for."""
        return replace(self, model=self.model.model_copy(update=dict(weights.made_for)))

    @property
    def division(self) -> Division:
        return Division(
            parts=self.optim.accumulation,
            processes=processes.count(),
            rank=processes.rank(),
            gather=processes.gather,
            total=processes.total,
        )

    @property
    def share(self) -> Share:
        """Which share of each batch this process reads."""
        return processes.rank(), processes.count()

    @property
    def computing(self) -> dict[str, str]:
        """What of the machine changes the bits of a training."""
        return computing(self.device)

    def new_network(self) -> DeepLabV2:
        """A network before any warm-up: random, or with `model.initial_weights`."""
        weights = initial_weights(self.model.initial_weights, self.model.backbone)
        return self._bare_network().to(self.device) if weights is None else self.network_with(weights)

    def trained_network(self, path: Path) -> DeepLabV2:
        """A network from a checkpoint; refused if it was trained for other classes or in another form."""
        if not path.exists():
            raise UserError(
                f"{path}: not there yet; the stage that makes it comes first (`dvc repro` runs what is needed)"
            )
        return self.network_with(read_checkpoint(path))

    def network_with(self, weights: Weights) -> DeepLabV2:
        """A network with these weights; refused if they were trained for other classes or are made for another form."""
        if weights.classes not in (None, self.classes.names):
            raise UserError(
                f"{weights.origin}: was trained for the classes {list(weights.classes or ())}, "
                f"not {list(self.classes.names)}"
            )
        network = self._bare_network()
        weights.fill(network, self.form)
        return network.to(self.device)

    def _bare_network(self) -> DeepLabV2:
        return build_network(
            self.model.backbone,
            len(self.classes),
            stride_on=self.model.stride_on,
            output_stride=self.model.output_stride,
            batch_norm_affine=self.model.batch_norm_affine,
            batch_norm_statistics=self.model.batch_norm_statistics,
            precision=self.model.precision,
            seed=stream_seed(self.seed, "initial weights"),
        )

    def save(self, path: Path, network: nn.Module, **more: Any) -> None:
        """Write a checkpoint that describes itself; `more` is, after a training, its `training_record`.

        No date, host or commit: the same training gives the same bytes, so that DVC does not rerun what follows.
        """
        description = {
            "classes": list(self.classes.names),
            "colors": [list(color) for color in self.classes.colors],
            "normalization": asdict(self.normalization),
            "model": self.model.model_dump(),
            "optim": self.optim.model_dump(),
            "seed": self.seed,
            "torch": str(torch.__version__),
            "computed_with": self.computing,
            **more,
        }
        save_network(path, network, description)

    def learner(self, name: str, network: nn.Module, loss_weights: Mapping[str, float] | None = None) -> Learner:
        optim = self.optim
        if self.runtime.gradient_checkpointing:
            checkpoint_blocks(network.get_submodule("backbone"))
        network.train()
        self._synchronize(network)
        optimizer = build_optimizer(
            network,
            backbone_multiplier=optim.backbone_multiplier,
            classifier_multiplier=optim.classifier_multiplier,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
        )
        return Learner(name, network, optimizer, loss_weights or {})

    def class_weights(self, schedule: Training, streams: Mapping[str, Stream]) -> Tensor | None:
        """float (K,): the weights that `schedule` asks for, by what the labels of its batches show on average."""
        if schedule.class_weights == "none":
            return None
        shown = torch.zeros(len(self.classes), dtype=torch.float64)
        for stream in streams.values():
            pixels = torch.tensor(stream.index.pixels_of_class(), dtype=torch.float64)
            shown += stream.batch * pixels / pixels.sum().clamp(min=1)
        return inverse_log_weights(shown / shown.sum().clamp(min=1)).to(self.device, torch.float32)

    def _synchronize(self, network: nn.Module) -> None:
        takes_batch_statistics = any(layer.training for layer in batch_norms(network))
        if processes.count() == 1 or not takes_batch_statistics or not self.model.synchronized_batch_norm:
            return
        if self.device.type == "cpu":
            raise UserError(
                "model.synchronized_batch_norm: true, but torch synchronizes batch statistics on GPUs only; set it to "
                "false, or model.batch_norm_statistics to running, or runtime.processes to 1"
            )
        synchronize(network)

    def on_device(self, crops: Crops) -> LabeledBatch:
        """The whole batch on the device, normalized there, of this process's crops as the loader gives them."""
        images, labels = (processes.gather(part.to(self.device, non_blocking=True)) for part in crops)
        return LabeledBatch(self.normalization.apply(images), labels)


def training_record(
    name: str,
    *,
    streams: Mapping[str, Stream],
    target: DomainIndex,
    schedule: Training,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """What a checkpoint says of the images that it is meant for, and of where it came from.

    `target` is an index of the target, whose label ids and whose size of images a prediction needs; `inputs` are the
    digests of the files that the training began with.
    """
    return {
        "input_size": list(target.resize) if target.resize else None,  # (width, height); None: images as on disk
        "label_ids": target.label_id_of_class(),
        "trained": name,
        "schedule": schedule.model_dump(),
        "data": {
            part: {"images": len(stream.index), "resize": list(stream.index.resize) if stream.index.resize else None}
            for part, stream in streams.items()
        },
        "inputs": dict(inputs),
    }
