"""Networks on disk: saved whole or not at all, loaded strictly, with a message that says what is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dstc.errors import UserError
from dstc.files import written_whole

FORMAT = "dstc network 1"


def save_network(path: Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Save weights and a plain description (classes, model parameters, what was trained) that makes the file stand alone."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = {"format": FORMAT, "description": dict(description), "state": state}
    with written_whole(path) as partial, partial.open("wb") as file:
        torch.save(content, file)  # given a name, torch would write it into the file, and the partial one's is random


def read_tensors(path: Path) -> Any:
    """Load a torch file without running any code in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of weights") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, or is no file of weights; such a file is refused because loading it could "
            "run code; save its state_dict() alone"
        ) from None
    except Exception as error:  # torch raises many kinds for a broken file (of its old format above all)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read as weights ({reason}); is it truncated?") from None


def read_described(path: Path) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The description and the weights that `save_network` wrote."""
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project; initial weights go to model.initial_weights")
    return content["description"], content["state"]


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """load_state_dict whose error is `complaint` with the first keys that differ and the shapes that do not fit."""
    own = network.state_dict()
    missing, foreign = [k for k in own if k not in state], [k for k in state if k not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the network's is {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or foreign or shapes:
        parts = [
            f"{len(missing)} keys are missing (such as {missing[0]})" if missing else "",
            f"{len(foreign)} keys are foreign (such as {foreign[0]})" if foreign else "",
            f"{len(shapes)} shapes differ ({shapes[0]})" if shapes else "",
        ]
        raise UserError(f"{complaint}: " + "; ".join(part for part in parts if part))
    network.load_state_dict(dict(state))
