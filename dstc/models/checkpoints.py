"""Networks on disk: saved whole or not at all, loaded strictly, with a message that says what is wrong."""

from __future__ import annotations

import errno
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dstc.core.errors import UserError, is_of_memory
from dstc.core.files import atomic_write
from dstc.models.backbones import find_backbone

FORMAT = "dstc network 1"
LEFT_OUT = "joint.iterations is 0: no network was trained\n"  # what stands in the place of a network then
SAFETENSORS = ".safetensors"  # the ending by which such a file is told from torch's own
EXPORTED = (".pt2", ".onnx")  # what dstc.export writes beside it

AS_RELEASED: Mapping[str, Any] = MappingProxyType(
    {"head": "deeplab_v2", "levels": None, "head_channels": None, "output_stride": 8, "atrous_rates": [6, 12, 18, 24]}
)
"""Values of section `model` that the released code has, and files from before they were parameters, which do not say so."""


WEIGHTS = ("ema", "last")  # which of a checkpoint's: those of the averaged network, or of the network itself


def save_network(
    path: Path, network: nn.Module, description: Mapping[str, Any], average: nn.Module | None = None
) -> None:
    """Save weights and a plain description (classes, model parameters, what was trained) that makes the file stand alone;
    beside them the weights of the network's average, if it has one.

    By the path's ending as torch does it, or as safetensors, where the description is JSON in the metadata; such a file
    holds one network alone.
    """
    state = _plain(network)
    if path.suffix == SAFETENSORS:
        with atomic_write(path) as partial:
            # One entry only: the order of several changes from run to run, and equal networks are to be equal bytes.
            partial.write_bytes(save(state, metadata={FORMAT: json.dumps(description)}))
    else:
        averaged = {} if average is None else {"ema": _plain(average)}
        write_tensors(path, {"format": FORMAT, "description": dict(description), "state": state, **averaged})


def _plain(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Save plain values and tensors, whole or not at all; raise the OSError of a disk that is full."""
    with atomic_write(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save(dict(content), file)  # given a name, torch would write it into the file: the partial one's
        except RuntimeError as error:  # torch's writer hides the reason behind a message of its own
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read_tensors(path: Path) -> Any:
    """Load a torch file without running any code in it. A flipped bit is found by the checksums in the file.

    torch itself does not compare them, and would go on with other weights. Its format before 1.6 has none, nor have
    safetensors files, which are told by their name. UserError is raised for what is no such file; an OSError
    (ENOMEM: no memory for it) says that the file may be whole.
    """
    try:
        if path.stat().st_size == len(LEFT_OUT) and path.read_bytes() == LEFT_OUT.encode():
            raise UserError(f"{path}: {LEFT_OUT.strip()}")
        if path.suffix == SAFETENSORS:
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} does not match its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of weights") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name the file of weights in it") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, or is no file of weights; such a file is refused because loading it could "
            "run code; save its state_dict() alone"
        ) from None
    except Exception as error:  # torch raises many kinds for a broken file (of its old format above all)
        if isinstance(error, OSError) and error.errno not in (
            None,
            errno.EINVAL,
        ):  # EINVAL: a place before its beginning
            error.filename = error.filename or str(path)
            raise
        if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_of_memory(error)):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path)) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read as weights ({reason}); is it truncated?") from None


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Weights as timm's are published, or what `save_network` wrote in this form."""
    with safe_open(path, "pt") as file:
        state, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    if FORMAT not in metadata:
        return state
    return {"format": FORMAT, "description": json.loads(metadata[FORMAT]), "state": state}


def read_described(path: Path, weights: str = "ema") -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The description and the `weights` (one of WEIGHTS) that `save_network` wrote."""
    if path.suffix in EXPORTED:
        raise UserError(f"{path}: is an exported program, which needs none of this project; name the checkpoint itself")
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project; initial weights go to model.initial_weights")
    return described_in(content, path, weights)


def described_in(content: Mapping[str, Any], path: Path, weights: str) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The description and the weights in what `save_network` wrote to `path`, once read. A file without averaged weights
    holds one network, which is what both names of weights mean then."""
    state = content["ema"] if weights == "ema" and "ema" in content else content.get("state")
    return description_in(content, path), plain_state(state, path)


def description_in(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint of this project says of itself: at least its `classes` and its `model`'s parameters."""
    description = content.get("description")
    if not isinstance(description, dict) or not isinstance(description.get("classes"), list):
        raise UserError(f"{path}: does not say which classes it was trained for; it is damaged, or of another version")
    if not isinstance(description.get("model"), dict):
        raise UserError(f"{path}: does not say which model it holds; it is damaged, or of another version")
    model = {**AS_RELEASED, **description["model"]}
    backbone = str(model.get("backbone"))
    if find_backbone(backbone) is None:
        raise UserError(
            f"{path}: was trained with model.backbone '{backbone}', which dstc/models/backbones.py does not have"
        )
    return {**description, "model": model}


def plain_state(content: Any, path: Path) -> Mapping[str, Tensor]:
    """`content`, if it is what a network's state_dict() gives."""
    if isinstance(content, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        return content
    raise UserError(f"{path}: holds no plain state dict; save a network's state_dict() alone")


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], message: str) -> None:
    """load_state_dict whose error is `message` with the first keys that differ, the shapes that do not fit, or the
    weights that are no plain floating-point numbers, or hold NaN or infinity."""
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
        raise UserError(f"{message}: " + "; ".join(part for part in parts if part))
    odd = [key for key in own if not _is_plain(state[key], own[key])]
    if odd:
        what = state[odd[0]]
        kind = f"{what.dtype}, {what.layout}, on {what.device}"
        raise UserError(f"{message}: {len(odd)} weights are of another kind ({odd[0]} is {kind})")
    broken = [key for key in own if not state[key].isfinite().all()]
    if broken:
        raise UserError(f"{message}: {len(broken)} weights hold NaN or infinity (such as {broken[0]}); retrain it")
    network.load_state_dict(dict(state))


def _is_plain(tensor: Tensor, own: Tensor) -> bool:
    """Whether torch would copy it to the network's own without a loss that it does not tell, such as an imaginary part."""
    kind = tensor.is_floating_point() == own.is_floating_point() and not tensor.is_complex()
    return kind and tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
