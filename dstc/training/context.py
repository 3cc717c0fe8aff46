"""What every training of a run shares: its networks, and what the sections `optim`, `runtime` and `seed` come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dstc.config.params import Params
from dstc.config.sections import Model, Optim, Runtime, Training
from dstc.core import processes
from dstc.core.batches import LabeledBatch
from dstc.core.device import computes_bf16, computing, ready
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex
from dstc.core.sending import sent
from dstc.core.taxonomy import Classes
from dstc.data.loaders import Crops, Share, Stream
from dstc.models.batch_norm import batch_norms, synchronize
from dstc.models.checkpoints import save_network
from dstc.models.gradient_checkpointing import checkpoint_blocks
from dstc.models.networks import NetworkBuilder
from dstc.training.averaging import averaged_copy
from dstc.training.class_weights import inverse_log_weights
from dstc.training.learner import Learner
from dstc.training.optimizer import build_optimizer


@dataclass(frozen=True)
class TrainingContext:
    """Builds learners and batches that agree with each other, and writes checkpoints."""

    networks: NetworkBuilder
    model: Model
    optim: Optim
    runtime: Runtime

    @classmethod
    def of(cls, params: Params, classes: Classes) -> TrainingContext:
        device = ready(params.runtime.device, params.runtime.threads, params.runtime.deterministic)
        if params.model.precision == "bf16" and not computes_bf16(device) and processes.is_first():
            print(
                "note: model.precision is bf16, which this machine seems only to imitate: on a CPU, a step can take ten "
                "times as long as with fp32 (auto is bf16 where the machine has arithmetic for it)",
                flush=True,
            )
        networks = NetworkBuilder.of(params.model.model_dump(), classes, seed=params.seed, device=device)
        return cls(networks, params.model, params.optim, params.runtime)

    @property
    def device(self) -> torch.device:
        return self.networks.device

    @property
    def seed(self) -> int:
        return self.networks.seed

    @property
    def classes(self) -> Classes:
        return self.networks.classes

    @property
    def share(self) -> Share:
        """Which share of each batch this process reads."""
        return processes.rank(), processes.count()

    @property
    def computing(self) -> dict[str, str]:
        """What of the machine changes the bits of a training."""
        return computing(self.device, self.model.precision)

    def learner(self, name: str, network: nn.Module) -> Learner:
        """The network in train mode, with its optimizer and its average."""
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
            optimizer=optim.optimizer,
            layer_decay=optim.layer_decay,
            clip_gradient_norm=optim.clip_gradient_norm,
        )
        average = averaged_copy(network, optim.ema_decay) if optim.ema_decay else None
        return Learner(name, network, optimizer, average)

    def _synchronize(self, network: nn.Module) -> None:
        """Take batch statistics over all processes: of each one's own images, their number would change the step."""
        takes_batch_statistics = any(layer.training for layer in batch_norms(network))
        if processes.count() == 1 or not takes_batch_statistics:
            return
        if self.device.type == "cpu":
            raise UserError(
                f"runtime.processes is {processes.count()}, but torch takes BatchNorm's statistics over the batch of "
                "several processes on GPUs only; set runtime.processes to 1, or model.batch_norm_statistics and "
                "co_train.student_batch_norm and .teacher_batch_norm to running"
            )
        synchronize(network)

    def class_weights(self, schedule: Training, streams: Mapping[str, Stream]) -> Tensor | None:
        """float (K,): the weights that `schedule` asks for, by what the labels of its batches show on average."""
        if schedule.class_weights == "none":
            return None
        shown = torch.zeros(len(self.classes), dtype=torch.float64)
        for stream in streams.values():
            pixels = torch.tensor(stream.index.pixels_of_class(), dtype=torch.float64)
            shown += stream.batch * pixels / pixels.sum().clamp(min=1)
        return inverse_log_weights(shown / shown.sum().clamp(min=1)).to(self.device, torch.float32)

    def on_device(self, crops: Crops) -> LabeledBatch:
        """The whole batch on the device, normalized there, of this process's crops as the loader gives them."""
        images, labels = (processes.gather(sent(part, self.device)) for part in crops)
        return LabeledBatch(self.networks.preprocessing.apply(images), labels)

    def save(self, path: Path, network: nn.Module, average: AveragedModel | None = None, **more: Any) -> None:
        """Write a checkpoint that describes itself; `more` is, after a training, its `training_record`.

        No date, host or commit: on one machine the same training gives the same bytes, so DVC reruns nothing after it.
        """
        description = {
            "classes": list(self.classes.names),
            "colors": [list(color) for color in self.classes.colors],
            "normalization": asdict(self.networks.preprocessing),
            "model": self.model.model_dump(),
            "optim": self.optim.model_dump(),
            "seed": self.seed,
            "torch": str(torch.__version__),
            "computed_with": self.computing,
            **more,
        }
        save_network(path, network, description, average=None if average is None else average.module)


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
