"""A short co-training and a short warm-up, and what came of them, as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dstc.co_training.trainer import CoTrainer
from dstc.config.params import Params
from dstc.data.loaders import Stream, ValidationImages
from dstc.method.domain_specific_initialization import Branches
from dstc.supervised import train_supervised
from dstc.training.state import TrainingState
from tests.co_training import test_trainer as base
from tests.data.small_domain import small_domain

ITERATIONS = 3
BATCH = {"source": 4, "labeled_target": 4, "unlabeled_target": 4}
SMALLEST = 1e-3  # a tensor of a smaller norm is nothing but rounding


def params(
    *, model: Mapping[str, Any], optim: Mapping[str, Any], runtime: Mapping[str, Any], **co_train: Any
) -> Params:
    """The parameters of tests/co_training/test_trainer.py, with batches of four and these changes."""
    plain = base.params(iterations=ITERATIONS, schedule_iterations=8, **({"batch": BATCH} | co_train))
    changes = {"model": model, "optim": optim, "runtime": runtime}
    return plain.model_copy(
        update={name: getattr(plain, name).model_copy(update=dict(change)) for name, change in changes.items()}
    )


def trained(
    folder: Path,
    *,
    model: Mapping[str, Any] | None = None,
    optim: Mapping[str, Any] | None = None,
    runtime: Mapping[str, Any] | None = None,
    **co_train: Any,
) -> dict[str, Tensor]:
    """Every loss, score, weight, statistic and momentum after a co-training and a warm-up of a few iterations."""
    chosen = params(model=model or {}, optim=optim or {}, runtime=runtime or {}, **co_train)
    context = base.context(chosen)
    domain = small_domain(folder, 7)
    val = ValidationImages(domain, [folder])
    crop = chosen.co_train.crop
    parts = {"source": domain, "labeled_target": domain, "unlabeled_target": domain.without_labels()}
    streams = {
        name: Stream(index, [folder], getattr(chosen.co_train.batch, name), crop) for name, index in parts.items()
    }
    # Of two equal branches the alignment is zero, where its gradient jumps: rounding would decide.
    branches = Branches(context.networks.new(), replace(context.networks, seed=1).new())
    trainer = CoTrainer(branches, context=context, settings=chosen.co_train, val=val)
    schedule = chosen.warm_up.source.model_copy(
        update={
            "iterations": ITERATIONS,
            "schedule_iterations": 8,
            "learning_rate": 0.01,
            "validate_every": 2,
            "batch": 4,
        }
    )
    warm_up = train_supervised(
        context.networks.new(),
        {"source": streams["source"]},
        name="warm_up_source",
        context=context,
        schedule=schedule,
        val=val,
    )
    return {
        **_tensors("co_train", trainer.run(streams, folder / "pictures")),
        **_tensors("warm_up", warm_up),
    }


def _tensors(name: str, state: TrainingState) -> dict[str, Tensor]:
    """All numbers of a training's state, flat."""
    found: dict[str, Tensor] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[path] = value.clone()
        elif isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{path}/{key}", item)
        elif isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                walk(f"{path}/{number}", item)
        elif isinstance(value, (int, float)):
            found[path] = torch.tensor(value, dtype=torch.float64)

    walk(name, state.as_dict())
    return found


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference of two tensors of a name, as a part of the tensor's norm, and where it is.

    A norm, because on some CPUs rounding moves a ReLU's input across zero, which turns one gradient of thousands off.
    A part, because a momentum buffer is as large as the gradients of many steps.
    """
    assert one.keys() == other.keys()
    differences = {name: _difference(one[name].double(), other[name].double()) for name in one}
    where = max(differences, key=differences.__getitem__)
    return differences[where], where


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm().clamp(min=SMALLEST))
