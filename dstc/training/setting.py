"""The setting that every training of a run shares: what the sections `model`, `optim`, `runtime` and `seed` come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dstc import processes
from dstc.checkpoints import load_network, save_network
from dstc.errors import UserError
from dstc.loading.loaders import Crops, Share
from dstc.loading.normalization import NORMALIZATIONS, Normalization
from dstc.method.batches import LabeledBatch
from dstc.method.division import Division
from dstc.models.batch_norm import batch_norms, synchronize
from dstc.models.deeplab_v2 import DeepLabV2, build_network
from dstc.models.initial_weights import load_initial_weights
from dstc.models.recomputation import recompute_blocks
from dstc.params import Params
from dstc.randomness import stream_seed
from dstc.runtime import choose_device, set_up
from dstc.sections import Model, Optim, Runtime
from dstc.taxonomy import Classes
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

    def new_network(self) -> DeepLabV2:
        """A network before any warm-up: random, or with `model.initial_weights`."""
        network = self._bare_network()
        load_initial_weights(
            network,
            self.model.initial_weights,
            backbone=self.model.backbone,
            stride_on=self.model.stride_on,
            normalization=self.model.normalization,
        )
        return network.to(self.device)

    def trained_network(self, path: Path) -> DeepLabV2:
        """A network that `save` wrote; refused if it was trained with other classes or another model."""
        network = self._bare_network()
        described = load_network(path, network)
        if tuple(described["classes"]) != self.classes.names:
            raise UserError(
                f"{path}: was trained for the classes {described['classes']}, not {list(self.classes.names)}"
            )
        for key in ("backbone", "stride_on", "normalization"):
            if described["model"][key] != getattr(self.model, key):
                raise UserError(
                    f"{path}: was trained with model.{key} '{described['model'][key]}', not '{getattr(self.model, key)}'"
                )
        return network.to(self.device)

    def _bare_network(self) -> DeepLabV2:
        return build_network(
            self.model.backbone,
            len(self.classes),
            stride_on=self.model.stride_on,
            batch_norm_affine=self.model.batch_norm_affine,
            batch_norm_statistics=self.model.batch_norm_statistics,
            precision=self.model.precision,
            seed=stream_seed(self.seed, "initial weights"),
        )

    def save(self, path: Path, network: nn.Module, **more: Any) -> None:
        """Write a checkpoint that describes itself."""
        colors = [list(color) for color in self.classes.colors]
        description = {"classes": list(self.classes.names), "colors": colors, "model": self.model.model_dump(), **more}
        save_network(path, network, description)

    def learner(self, name: str, network: nn.Module, loss_weights: Mapping[str, float] | None = None) -> Learner:
        optim = self.optim
        if self.runtime.checkpointing:
            recompute_blocks(network.get_submodule("backbone"))
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
