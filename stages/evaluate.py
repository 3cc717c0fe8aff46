"""Stage evaluate: score both warm-ups, both branches and the branches' average on the target's val images.

    python -m stages.evaluate

Reads the four checkpoints and the val images; writes metrics/pictures and the small files of metrics/, which git keeps
(that is why the trainings' curves are copied there too). With evaluate.flip, .scales or .window the networks are scored with
that test-time augmentation as well, under protocols of their own; the pictures are without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dstc.errors import reported
from dstc.evaluation import tables
from dstc.evaluation.inference import Views
from dstc.evaluation.protocols import ValBatch, evaluate
from dstc.evaluation.val_pictures import choose, draw_predictions, file_names
from dstc.files import folder_written_whole, write_text
from dstc.index import load_index, read_split, root_folders
from dstc.loading.loaders import ValidationImages
from dstc.params import read_params
from dstc.progress import progress
from dstc.training.setting import Setting
from dstc.training.working_folder import remove_recorded
from stages.places import CO_TRAIN, INDEX_TARGET_VAL, METRICS, NETWORK, SPLIT, WARM_UP_SOURCE, WARM_UP_TARGET

CHECKPOINTS = {
    "warm_up_source": WARM_UP_SOURCE / NETWORK,
    "warm_up_target": WARM_UP_TARGET / NETWORK,
    "source_biased": CO_TRAIN / "source_biased.pt",
    "target_biased": CO_TRAIN / "target_biased.pt",
}
CURVES = ("losses", "validation")


def evaluate_networks() -> None:
    params = read_params()
    remove_recorded()
    index = load_index(INDEX_TARGET_VAL)
    roots = root_folders(params.paths.target, "cityscapes", params.paths.unlabeled)
    settings, window = params.evaluate, params.evaluate.window
    chosen = choose([entry.name for entry in index.entries], settings.pictures, settings.picture_names)
    setting = Setting.of(params, index.classes)
    networks = {row: setting.trained_network(path).eval() for row, path in CHECKPOINTS.items()}
    normalize, device = setting.normalization.apply, setting.device

    def batches_of(images: ValidationImages, doing: str) -> Iterator[ValBatch]:
        with progress(total=len(images), desc=doing, unit="image") as bar:
            for batch in images.batches(settings.batch, params.runtime.workers):
                yield batch
                bar.update(len(batch[0]))

    confusion = evaluate(
        networks,
        batches_of(ValidationImages(index, roots), "scoring"),
        normalize=normalize,
        num_classes=len(index.classes),
        protocols=settings.protocols,
        device=device,
        views=Views(settings.flip, tuple(settings.scales), (window[0], window[1]) if window else None),
    )
    with folder_written_whole(METRICS / "pictures") as folder:
        draw_predictions(
            networks,
            batches_of(ValidationImages(index.named(chosen), roots), "drawing"),
            normalize=normalize,
            classes=index.classes,
            device=device,
            files={name: folder / file for name, file in file_names(chosen).items()},
        )
    circumstances = {
        "labeled_images": len(read_split(SPLIT)[0]),
        "chosen_on_val": int(params.co_train.choose_checkpoint == "best_on_val"),
    }
    tables.write_tables(METRICS, confusion, index.classes, circumstances)
    copy_curves()
    print(tables.console_table(confusion, index.classes))


def copy_curves() -> None:
    """data/co_train/losses.csv to metrics/losses_co_train.csv and so on: git keeps them, DVC's cache the originals."""
    for folder in (WARM_UP_SOURCE, WARM_UP_TARGET, CO_TRAIN):
        for curve in CURVES:
            write_text(METRICS / f"{curve}_{folder.name}.csv", (folder / f"{curve}.csv").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with reported():
        evaluate_networks()


if __name__ == "__main__":
    main()
