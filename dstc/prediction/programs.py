"""A trained network, or the average of several, as a program that needs none of this project: .pt2 (torch's own) or .onnx.

It is read back and run beside the network before it is kept.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from dstc.core.errors import UserError
from dstc.core.files import atomic_write
from dstc.prediction.trained import Size, Trained

TOLERANCE = 1e-3  # of logits, which are of the order of 10; what is found is rounding, 1e-5 and less
ABOUT = "about.json"  # the name under which a program holds what its outputs mean
FOR_ONNX = ("onnx", "onnxscript", "onnxruntime")

Program = torch.export.ExportedProgram
Run = Callable[[Tensor], Tensor]  # uint8 RGB images (N, H, W, 3) to logits (N, K, H, W)


class FromPixels(nn.Module):
    """uint8 RGB images (N, H, W, 3) to logits, float32 (N, K, H, W).

    Of several networks: the logarithm of the mean of their class probabilities, which is what their softmax gives back.
    """

    def __init__(self, trained: Sequence[Trained]) -> None:
        super().__init__()
        networks = [copy.deepcopy(one.network) for one in trained]
        for network in networks:
            network.precision = "fp32"
        self.networks = nn.ModuleList(networks)
        self.normalizations = [one.normalization for one in trained]

    def forward(self, images: Tensor) -> Tensor:
        logits = [
            network(normalization.apply(images))
            for network, normalization in zip(self.networks, self.normalizations, strict=True)
        ]
        if len(logits) == 1:
            return logits[0]
        return torch.stack([one.log_softmax(1) for one in logits]).logsumexp(0) - math.log(len(logits))


def write_program(trained: Sequence[Trained], image_size: Size, path: Path) -> float:
    """Write the program of a network, or of the average of several, for images of (width, height); return by how much its
    logits differ from the networks', at most.

    Compared on the file as it was read back, for batches of one and of three images of noise.
    """
    write, read = PROGRAMS[path.suffix]
    module = FromPixels(trained).eval()
    exported = FromPixels(trained).eval().to(memory_format=torch.contiguous_format)  # what torch's archive keeps as is
    width, height = image_size
    images = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # The atrous classifiers choose their taps by the size of the features, so a program is good for one size.
    program = torch.export.export(exported, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    averaged = {"averaged_networks": [one.description for one in trained]} if len(trained) > 1 else {}
    about = json.dumps({**trained[0].description, **averaged, "exported_for": list(image_size)})
    with atomic_write(path) as partial:
        write(program, about, partial)
        difference = _difference(module, read(partial), images)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: its logits differ from the network's by up to {difference:.2g}, so it was not kept"
            )
    return difference


@torch.inference_mode()
def _difference(module: nn.Module, run: Run, images: Tensor) -> float:
    return max(float((run(some) - module(some)).abs().max()) for some in (images, images[:1]))


def require_onnx(path: Path) -> None:
    """Raise UserError unless ONNX can be written and run here."""
    missing = [name for name in FOR_ONNX if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{path}: ONNX takes {', '.join(missing)}, not installed here: pip install {' '.join(FOR_ONNX)}"
        )


def _write_pt2(program: Program, about: str, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={ABOUT: about})


def _read_pt2(path: Path) -> Run:
    with path.open("rb") as file:
        return torch.export.load(file).module()


def _write_onnx(program: Program, about: str, path: Path) -> None:
    converted = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
    assert converted is not None
    converted.model.metadata_props[ABOUT] = about
    converted.save(path)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


PROGRAMS = {".pt2": (_write_pt2, _read_pt2), ".onnx": (_write_onnx, _read_onnx)}
"""Ending of the file: what writes it, and what makes of it something to be run."""
