"""Export a trained network as a program that needs torch alone, none of this project.

    python -m dstc.export data/co_train/source_biased.pt --out source_biased.pt2

Use it so, anywhere (normalization is inside; the batch may be of any length, the image size is the one exported for):

    program = torch.export.load("source_biased.pt2")
    images = torch.from_numpy(rgb)[None]              # uint8 (N, height, width, 3), RGB, 0..255
    logits = program.module()(images)                 # float32 (N, classes, height, width)
    label = logits.argmax(1)                          # train ids

What the train ids mean is in the file too: `files = {"about.json": ""}; torch.export.load(path, extra_files=files)`.
Always float32, also for networks trained with bf16. The file is read back and run beside the network before it is kept.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import atomic_write
from dstc.prediction.options import size
from dstc.prediction.trained import Size, Trained, load_trained

TOLERANCE = 1e-3  # of logits, which are of the order of 10; what is found is rounding, 1e-5 and less


class FromPixels(nn.Module):
    """uint8 RGB images (N, H, W, 3) to logits, float32 (N, K, H, W)."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.network, self.normalization = copy.deepcopy(trained.network), trained.normalization
        self.network.precision = "fp32"

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalization.apply(images))


def export_network(trained: Trained, image_size: Size, path: Path) -> float:
    """Write the program for images of (width, height); return by how much its logits differ from the network's, at most.

    Compared on the file as it was read back, for batches of one and of three images of noise.
    """
    module = FromPixels(trained).eval()
    exported = FromPixels(trained).eval().to(memory_format=torch.contiguous_format)  # what torch's archive keeps as is
    width, height = image_size
    images = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # The atrous classifiers choose their taps by the size of the features, so a program is good for one size.
    program = torch.export.export(exported, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    about = {**trained.description, "exported_for": list(image_size)}
    with atomic_write(path) as partial:
        with partial.open("wb") as file:
            torch.export.save(program, file, extra_files={"about.json": json.dumps(about)})
        difference = _difference(module, partial, images)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: its logits differ from the network's by up to {difference:.2g}, so it was not kept"
            )
    return difference


@torch.inference_mode()
def _difference(module: nn.Module, path: Path, images: Tensor) -> float:
    with path.open("rb") as file:
        program = torch.export.load(file).module()
    return max(float((program(some) - module(some)).abs().max()) for some in (images, images[:1]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m dstc.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path, help="a checkpoint, such as data/co_train/source_biased.pt")
    parser.add_argument(
        "--out", type=Path, help="the file to write (if not given: the checkpoint's name with .pt2, in this folder)"
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="WIDTHxHEIGHT",
        help="of the images that the program will take (if not given: that of the training)",
    )
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        trained = load_trained(options.network, torch.device("cpu"))
        image_size = options.size or trained.input_size
        if image_size is None:
            raise UserError(
                f"{options.network}: was trained on images as they are on disk; say for which with --size 1024x512"
            )
        path = options.out or Path(f"{options.network.stem}.pt2")
        difference = export_network(trained, image_size, path)
        print(f"{path}: for images of {image_size[0]}x{image_size[1]}; logits differ by {difference:.1g} at most")


if __name__ == "__main__":
    main()
