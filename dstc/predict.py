"""Label images of one's own with a trained network.

    python -m dstc.predict data/co_train/source_biased.pt photos/
    python -m dstc.predict data/co_train/source_biased.pt 'photos/**/*.jpg' --average-with data/co_train/target_biased.pt
    python -m dstc.predict data/co_train/source_biased.pt           what the checkpoint says of itself

Writes, at each image's own size, below --out: train_ids and label_ids (gray PNG), colors (RGB PNG), overlays (JPEG, the
colors over the image) and about.json, which says what the values mean and how they came to be. The checkpoint is all that
is needed: neither params.yaml nor the data it was trained on.
"""

from __future__ import annotations

import argparse
import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dstc.core.device import KNOWN, choose_device, set_up
from dstc.core.errors import UserError, exit_on_user_error, in_words, is_of_memory
from dstc.core.files import require_writable
from dstc.core.image_files import allow_any_size, decode_image
from dstc.core.progress import progress
from dstc.evaluation.inference import Views
from dstc.prediction.found_images import find_images
from dstc.prediction.options import add_average_with, add_weights, kinds, scales, size, threads
from dstc.prediction.results import KINDS, kinds_for, write_about, write_results
from dstc.prediction.trained import Size, Trained, load_trained, predict_image, refuse_unlike, size_seen


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="a checkpoint, such as data/co_train/source_biased.pt")
    parser.add_argument("images", nargs="*", help="files, folders (with all below) or quoted patterns")
    add_average_with(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), help="folder of the results (if not given: %(default)s)"
    )
    parser.add_argument(
        "--write",
        type=kinds,
        default=list(KINDS),
        metavar=",".join(KINDS),
        help="only these kinds of results, separated by commas",
    )
    add_weights(parser)
    parser.add_argument("--flip", action="store_true", help="average over the mirror image as well")
    parser.add_argument("--scales", type=scales, default=(1.0,), metavar="0.75,1,1.25",
                        help="average over these sizes, each 0.1 to 10")  # fmt: skip
    parser.add_argument("--window", type=size, metavar="WIDTHxHEIGHT",
                        help="look through overlapping windows of so many pixels, at least 16x16; for images that do not "
                        "fit the memory")  # fmt: skip
    parser.add_argument("--allow-large", action="store_true", help="also images of more than 179 million pixels, which are "
                        "refused otherwise, as a small damaged file can pretend to be so large")  # fmt: skip
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--size", type=size, metavar="WIDTHxHEIGHT", help="the network sees every image at this size, instead "
                      "of with as many pixels as those that it was trained on")  # fmt: skip
    seen.add_argument("--own-size", action="store_true", help="the network sees every image as large as it is")
    parser.add_argument(
        "--device",
        default="auto",
        help=f"{KNOWN} (if not given: %(default)s)",
    )
    parser.add_argument("--threads", type=threads, default=0, help="CPU threads; 0: one for each core that it may use")
    return parser


def predict_all(options: argparse.Namespace) -> None:
    """Predict every image that can be read; then name those that cannot."""
    images = find_images(options.images, options.out)
    if options.allow_large:
        allow_any_size()
    set_up(options.threads)
    device = choose_device(options.device, "--device")
    trained = [load_trained(path, device, options.weights) for path in (options.network, *options.average_with)]
    refuse_unlike(trained)
    views = Views(options.flip, options.scales, options.window)
    written = kinds_for(trained[0], options.write)
    if options.out.is_file():
        raise UserError(f"--out {options.out}: is a file; name a folder")
    require_writable(options.out)
    seen_at = _size_in_words(options, trained[0])
    write_about(options.out, trained, written, weights=options.weights, size=seen_at, views=views)
    problems = []
    with progress(total=len(images), desc="predicting", unit="image") as bar:
        for name, path in images.items():
            try:
                with _errors_of(path):
                    image = decode_image(path.read_bytes(), str(path))
                    label = _label(image, path, options, trained, views, device)
                _write(options.out, name, image, label, trained[0], written)
            except UserError as error:
                problems.append(str(error))
            bar.update()
    print(f"{options.out}: {len(images) - len(problems)} images, each as {', '.join(written)}")
    if problems:
        raise UserError("\n".join([f"{len(problems)} of {len(images)} images lack results:", *problems]))


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """An error of reading one image, or its size, becomes a UserError: the others may still be labeled."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except MemoryError:
        raise UserError(f"{path}: too large for the memory of this machine; cut it into tiles") from None


def _label(
    image: Image.Image,
    path: Path,
    options: argparse.Namespace,
    trained: Sequence[Trained],
    views: Views,
    device: torch.device,
) -> np.ndarray:
    """The image's train ids, uint8 (H, W); UserError where torch has no memory for it."""
    seen = _size(options, trained[0], image.size)
    try:
        return predict_image(trained, image, size=seen, views=views, device=device)
    except RuntimeError as error:
        if not is_of_memory(error):
            raise
        raise UserError(
            f"{path}: {seen[0]}x{seen[1]}, seen by the network, or scores of {image.width}x{image.height}, its own "
            f"size, are too much for the memory of {device}; give --window 512x512 or a smaller image"
        ) from None


def _write(
    out: Path, name: str, image: Image.Image, label: np.ndarray, trained: Trained, written: Sequence[str]
) -> None:
    """Write an image's results; UserError where the reason is this image's, its size or its name, and not the disk's."""
    try:
        write_results(out, name, image, label, trained, written)
    except OSError as error:
        if error.errno not in (None, errno.ENAMETOOLONG):
            raise
        raise UserError(in_words(error)) from None


def _size(options: argparse.Namespace, trained: Trained, own: Size) -> Size:
    if options.own_size:
        return own
    return options.size or size_seen(own, trained.input_size)


def _size_in_words(options: argparse.Namespace, trained: Trained) -> str:
    wanted = options.size or trained.input_size
    if options.own_size or wanted is None:
        return "own size"
    return f"{'' if options.size else 'as many pixels as '}{wanted[0]}x{wanted[1]}"


def describe(path: Path) -> None:
    """Print what a checkpoint says of itself, one line for each thing it knows."""
    for key, value in load_trained(path, torch.device("cpu"), "last").description.items():
        print(f"{key}: {json.dumps(value)}")


def main(arguments: Sequence[str] | None = None, prog: str = "python -m dstc.predict") -> None:
    # Intermixed: Python 3.11 would take no image for all of them where options stand between network and images.
    options = _parser(prog).parse_intermixed_args(arguments)
    with exit_on_user_error():
        if options.images:
            predict_all(options)
        else:
            describe(options.network)


if __name__ == "__main__":
    main()
