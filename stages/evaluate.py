"""Stage evaluate: score the warm-ups, joint training, both branches and their average on the target's val images.

    python -m stages.evaluate                             the stage
    python -m stages.evaluate --checkpoint FILE [FILE...] any checkpoints, of this project or of the released code

The stage reads the five checkpoints (without that of joint training, where joint.iterations is 0) and the val images; it
writes metrics/pictures and the small files of metrics/, which git keeps (that is why the trainings' curves are copied there
too). It prints whether co-training is ahead of joint training, and the command that compares experiments. With
evaluate.flip, .scales or .window the networks are scored with that test-time augmentation as well, under protocols of their
own; the pictures are without it.

With --checkpoint nothing is written: the scores of each FILE, and of the average of them if they are several, are printed.
What the files were made for (backbone, strides, color order) is taken from them; params.yaml says which images, which
protocols and, for the released code's files, which backbone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from dstc.config.params import Params, read_params
from dstc.core.costs import measured
from dstc.core.device import peak_gpu_bytes, ready
from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import atomic_folder, write_text
from dstc.core.index import read_split
from dstc.core.places import (
    CO_TRAIN,
    JOINT,
    LOSSES,
    MADE_BY,
    METRICS,
    NETWORK,
    SPLIT,
    VALIDATION,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.core.progress import progress
from dstc.core.run_folders import remove_recorded
from dstc.core.taxonomy import Classes
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.data.loaders import ValidationImages
from dstc.evaluation import tables
from dstc.evaluation.inference import Views
from dstc.evaluation.protocols import ValBatch, evaluate
from dstc.evaluation.rows import main_protocol
from dstc.evaluation.val_pictures import choose, draw_predictions, file_names
from dstc.evaluation.verdict import verdict
from dstc.models.batch_norm import recompute_statistics
from dstc.models.checkpoints import description_in, read_tensors
from dstc.models.networks import NetworkBuilder
from dstc.models.weights import read_checkpoint

BATCH_NORM_IMAGES = 200  # whose statistics evaluate.batch_norm takes; more change them little
CHECKPOINTS = {
    "warm_up_source": WARM_UP_SOURCE / NETWORK,
    "warm_up_target": WARM_UP_TARGET / NETWORK,
    "joint": JOINT / NETWORK,
    "source_biased": CO_TRAIN / "source_biased.pt",
    "target_biased": CO_TRAIN / "target_biased.pt",
}


def evaluate_networks() -> None:
    """The stage."""
    params = read_params(tell=["evaluate"])
    remove_recorded()
    images = val_images(params)
    index, settings = images.index, params.evaluate
    chosen = choose([entry.name for entry in index.entries], settings.pictures, settings.picture_names)
    builder = builder_of(params, index.classes)
    networks = {
        row: builder.trained(path, settings.weights).eval()
        for row, path in CHECKPOINTS.items()
        if row != "joint" or params.joint.iterations != 0
    }
    if settings.batch_norm == "target":
        adapt_batch_norm(networks, params, builder)
    normalize, device = builder.preprocessing.apply, builder.device
    confusion = evaluate(
        networks,
        batches_of(images, params, "scoring"),
        normalize=normalize,
        num_classes=len(index.classes),
        protocols=settings.protocols,
        device=device,
        views=views_of(params),
    )
    with atomic_folder(METRICS / "pictures") as folder:
        draw_predictions(
            networks,
            batches_of(replace(images, index=index.named(chosen), own_labels=False), params, "drawing"),
            normalize=normalize,
            classes=index.classes,
            device=device,
            files={name: folder / file for name, file in file_names(chosen).items()},
        )
    run_metadata = {
        "labeled_images": len(read_split(SPLIT)[0]),
        "chosen_on_val": int(params.co_train.choose_checkpoint == "best_on_val"),
    }
    tables.write_tables(METRICS, confusion, index.classes, run_metadata, trained_with(networks))
    copy_curves()
    print(tables.console_table(confusion, index.classes))
    protocol = main_protocol(confusion)
    print(f"\n{protocol}:", *verdict(tables.scores(confusion, index.classes)[protocol]), sep="\n")
    print(f"\nThe experiments so far, in 120 columns:\n{tables.comparing_command(confusion)}")


def trained_with(rows: Iterable[str]) -> dict[str, dict[str, str]]:
    """By row, what its checkpoint says of the version of torch and of the machine."""
    described = {row: description_in(read_tensors(CHECKPOINTS[row]), CHECKPOINTS[row]) for row in rows}
    return {
        row: {"torch": said.get("torch", "unknown"), **said.get("computed_with", {})} for row, said in described.items()
    }


def adapt_batch_norm(networks: Mapping[str, nn.Module], params: Params, builder: NetworkBuilder) -> None:
    """Give the networks BatchNorm statistics of unlabeled target images."""
    images = domains_of(params).unlabeled_images(BATCH_NORM_IMAGES)
    if not len(images):
        print("evaluate.batch_norm: every target image is labeled, so the statistics stay as they were trained")
        return
    for row, network in networks.items():
        seen = batches_of(images, params, f"statistics of {row}")
        recompute_statistics(network, (builder.preprocessing.apply(batch[0].to(builder.device)) for batch in seen))


def score_checkpoints(paths: Sequence[Path]) -> None:
    """Print the scores of whole networks in files, each brought the images as it was made for them."""
    params = read_params()
    images = val_images(params)
    classes = images.index.classes
    checkpoints = [read_checkpoint(path, params.evaluate.weights) for path in paths]
    first = checkpoints[0]
    for other in checkpoints:
        if other.made_for != first.made_for:
            raise UserError(
                f"{first.origin} is made for {dict(first.made_for)}, {other.origin} for {dict(other.made_for)}; score "
                "them one by one"
            )
    builder = builder_of(params, classes).suited_to(first)
    networks = {weights.origin: builder.with_weights(weights).eval() for weights in checkpoints}
    if params.evaluate.batch_norm == "target":
        adapt_batch_norm(networks, params, builder)
    confusion = evaluate(
        networks,
        batches_of(images, params, "scoring"),
        normalize=builder.preprocessing.apply,
        num_classes=len(classes),
        protocols=params.evaluate.protocols,
        device=builder.device,
        views=views_of(params),
        averaged=tuple(networks) if len(networks) > 1 else (),
    )
    for weights in checkpoints:
        print(f"{weights.origin}: {weights.kind}")
    print("scored with", ", ".join(f"model.{key} {value}" for key, value in builder.form.items()))
    print(tables.console_table(confusion, classes))
    for protocol, rows in confusion.items():
        print(f"\nIoU per class, {protocol}\n{tables.iou_per_class_csv(rows, classes)}", end="")


def builder_of(params: Params, classes: Classes) -> NetworkBuilder:
    device = ready(params.runtime.device, params.runtime.threads)
    return NetworkBuilder.of(
        params.model.model_dump(), classes, seed=0, device=device
    )  # no weight is left as it was drawn


def domains_of(params: Params) -> Domains:
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    return Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)


def val_images(params: Params) -> ValidationImages:
    return domains_of(params).val(own_labels=True)


def views_of(params: Params) -> Views:
    settings, window = params.evaluate, params.evaluate.window
    return Views(settings.flip, tuple(settings.scales), (window[0], window[1]) if window else None)


def batches_of(images: ValidationImages, params: Params, doing: str) -> Iterator[ValBatch]:
    with progress(total=len(images), desc=doing, unit="image") as bar:
        for batch in images.batches(params.evaluate.batch, params.runtime.workers):
            yield batch
            bar.update(len(batch[0]))


def copy_curves() -> None:
    """data/co_train/losses.csv to metrics/losses_co_train.csv and so on: git keeps them, DVC's cache the originals."""
    for folder in (WARM_UP_SOURCE, WARM_UP_TARGET, JOINT, CO_TRAIN):
        for curve in (LOSSES, VALIDATION):
            path = folder / curve
            try:
                write_text(METRICS / f"{path.stem}_{folder.name}.csv", path.read_text(encoding="utf-8"))
            except UnicodeDecodeError:
                raise UserError(f"{path}: is no curve; run `dvc repro -f {folder.name}`") from None


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", nargs="+", type=Path, metavar="FILE", help="score these files instead")
    checkpoints = parser.parse_args().checkpoint
    with exit_on_user_error():
        if checkpoints:
            score_checkpoints(checkpoints)
            return
        with measured("evaluate", MADE_BY["evaluate"], gpu_memory=peak_gpu_bytes):
            evaluate_networks()


if __name__ == "__main__":
    main()
