"""What builds networks, new or from files, so that they agree with each other. It knows nothing of how they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from dstc.core.errors import UserError
from dstc.core.randomness import stream_seed
from dstc.core.taxonomy import Classes
from dstc.models.normalization import NORMALIZATIONS, Normalization
from dstc.models.segmentation import SegmentationNetwork, build_network
from dstc.models.weights import FORM, Form, Weights, initial_weights, read_checkpoint


@dataclass(frozen=True)
class NetworkBuilder:
    """Networks of one form for one set of classes, on one device. The fields from `backbone` on are those of `model`."""

    classes: Classes
    device: torch.device
    seed: int
    backbone: str
    head: str
    levels: Sequence[int] | None
    head_channels: int | None
    initial_weights: str
    backbone_weights: str
    stride_on: str
    output_stride: int
    atrous_rates: Sequence[int]
    normalization: str
    batch_norm_affine: str
    batch_norm_statistics: str
    precision: str

    @classmethod
    def of(cls, model: Mapping[str, Any], classes: Classes, *, seed: int, device: torch.device) -> NetworkBuilder:
        """From the values of section `model`; those that only a training uses are passed over."""
        own = {key: model[key] for key in cls.parameters()}
        return cls(classes=classes, device=device, seed=seed, **own)

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Those of section `model` that decide a network."""
        return tuple(field.name for field in fields(cls) if field.name not in ("classes", "device", "seed"))

    @property
    def preprocessing(self) -> Normalization:
        """What images are brought to before these networks see them."""
        return NORMALIZATIONS[self.normalization]

    @property
    def form(self) -> Form:
        """What these networks and their weights must agree in."""
        return {key: getattr(self, key) for key in FORM}

    def suited_to(self, weights: Weights) -> NetworkBuilder:
        """This builder with the form of network and the preprocessing that the weights are made for."""
        return replace(self, **dict(weights.made_for))

    def new(self) -> SegmentationNetwork:
        """A network before any warm-up: random, or with `model.initial_weights`."""
        weights = initial_weights(self.initial_weights, self.backbone)
        return self.bare().to(self.device) if weights is None else self.with_weights(weights)

    def trained(self, path: Path, weights: str = "last") -> SegmentationNetwork:
        """A network from a checkpoint (`weights`: "last" or "ema", its average); refused if it was trained for other
        classes or in another form."""
        if not path.exists():
            raise UserError(
                f"{path}: not there yet; the stage that makes it comes first (`dvc repro` runs what is needed)"
            )
        return self.with_weights(read_checkpoint(path, weights))

    def with_weights(self, weights: Weights) -> SegmentationNetwork:
        """A network with these weights; refused if they were trained for other classes or are made for another form."""
        if weights.classes not in (None, self.classes.names):
            raise UserError(
                f"{weights.origin}: was trained for the classes {list(weights.classes or ())}, "
                f"not {list(self.classes.names)}"
            )
        network = self.bare()
        weights.fill(network, self.form)
        return network.to(self.device)

    def bare(self) -> SegmentationNetwork:
        """A network of random weights, on the CPU."""
        return build_network(
            self.backbone,
            len(self.classes),
            stride_on=self.stride_on,
            output_stride=self.output_stride,
            atrous_rates=self.atrous_rates,
            batch_norm_affine=self.batch_norm_affine,
            batch_norm_statistics=self.batch_norm_statistics,
            precision=self.precision,
            head=self.head,
            levels=self.levels,
            head_channels=self.head_channels,
            backbone_weights=self.backbone_weights,
            seed=stream_seed(self.seed, "initial weights"),
        )
