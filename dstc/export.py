"""Export a trained network for use without this project.

    python -m dstc.export data/co_train/source_biased.pt                             source_biased.pt2
    python -m dstc.export data/co_train/source_biased.pt --out source_biased.onnx
    python -m dstc.export data/co_train/source_biased.pt --average-with data/co_train/target_biased.pt --out both.onnx

The ending of --out is the format:

    .pt2           a program of torch.export, which needs torch alone
    .onnx          an ONNX model; writing it takes onnx, onnxscript and onnxruntime
    .safetensors   the checkpoint itself, its description as metadata; `dstc.predict` and model.initial_weights take it

Programs take uint8 RGB images and return logits; normalization is inside. The batch may be of any length, the image size
is the one exported for. They are float32, also of networks trained with bf16, and are run beside the network before
they are kept. Of several networks, the logits are the logarithm of their mean class probabilities.

    program = torch.export.load("source_biased.pt2")                # or: onnxruntime.InferenceSession(...)
    images = torch.from_numpy(rgb)[None]                            # uint8 (N, height, width, 3), RGB, 0..255
    logits = program.module()(images)                               # session.run(["logits"], {"images": images.numpy()})
    label = logits.argmax(1)                                        # float32 (N, classes, height, width) to train ids

A .pt2 computes on the CPU, unless `torch.export.passes.move_to_device_pass(program, device)` moves it before `.module()`.
What the train ids mean is in the file too: `files = {"about.json": ""}; torch.export.load(path, extra_files=files)`, or
`session.get_modelmeta().custom_metadata_map["about.json"]`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from dstc.core.errors import UserError, exit_on_user_error
from dstc.models.checkpoints import SAFETENSORS, save_network
from dstc.prediction.options import add_average_with, add_weights, size
from dstc.prediction.programs import PROGRAMS, require_onnx, write_program
from dstc.prediction.trained import Size, load_trained, refuse_unlike

FORMATS = (*PROGRAMS, SAFETENSORS)


def export(checkpoints: Sequence[Path], path: Path, image_size: Size | None, weights: str) -> str:
    """Write the checkpoint's network, or the average of several, in the form that the path's ending names; say what was
    written."""
    if path.suffix not in FORMATS:
        raise UserError(f"--out {path}: its ending names no known format; known are {', '.join(FORMATS)}")
    if path.suffix == SAFETENSORS and image_size:
        raise UserError(f"--size: {path} would hold weights, which are good for any size; leave --size out")
    if path.suffix == SAFETENSORS and len(checkpoints) > 1:
        raise UserError(f"--average-with: {path} would hold one network's weights; write {' or '.join(PROGRAMS)}")
    if path.suffix == ".onnx":
        require_onnx(path)
    trained = [load_trained(checkpoint, torch.device("cpu"), weights) for checkpoint in checkpoints]
    refuse_unlike(trained)
    if path.suffix == SAFETENSORS:
        save_network(path, trained[0].network, trained[0].description)
        return f"{path}: weights and their description"
    image_size = image_size or trained[0].input_size
    if image_size is None:
        raise UserError(
            f"{checkpoints[0]}: was trained on images as they are on disk; say for which with --size 1024x512"
        )
    difference = write_program(trained, image_size, path)
    return f"{path}: for images of {image_size[0]}x{image_size[1]}; logits differ by {difference:.1g} at most"


def main(arguments: Sequence[str] | None = None, prog: str = "python -m dstc.export") -> None:
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="a checkpoint, such as data/co_train/source_biased.pt")
    add_average_with(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help=f"the file to write, {', '.join(FORMATS)} (if not given: the checkpoint's name with .pt2, in this folder)",
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="WIDTHxHEIGHT",
        help="of the images that the program will take (if not given: that of the training, where images were resized)",
    )
    add_weights(parser)
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        checkpoints = [options.network, *options.average_with]
        print(export(checkpoints, options.out or Path(f"{options.network.stem}.pt2"), options.size, options.weights))


if __name__ == "__main__":
    main()
