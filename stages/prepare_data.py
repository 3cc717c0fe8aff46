"""Stage prepare_data: find the data, read every image and label once, and write an index of each domain to data/index.

    python -m stages.prepare_data
    python -m stages.prepare_data --check      only tell what is found: images, sizes, classes, what looks wrong

Where the paths are 'embedded', the built-in data set is rendered to data/world first. All problems in the data are listed
together; nothing is written then.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from typing import Any

from dstc.config.params import Params, read_params
from dstc.config.sections import Data, Paths, Source, Target
from dstc.core.costs import measured
from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import atomic_folder
from dstc.core.index import root_folders, save_index
from dstc.core.places import INDEX_SOURCE, MADE_BY, WORLD
from dstc.preparation.indexing import Domain, index_domains
from dstc.preparation.label_rules import label_rules, task_classes
from dstc.preparation.report import class_table, remarks
from dstc.preparation.summary import summary_table
from dstc.world.build import build_world

NO_WORLD = "paths.source and paths.target name folders, so the built-in data set was not built.\n"


def prepare(params: Params) -> None:
    """Build the world if it is wanted; index the three domains; print what was found."""
    embedded, world = params.paths.source == "embedded", params.data.world
    if embedded:
        with atomic_folder(WORLD) as folder:
            build_world(folder, **world.model_dump(), workers=params.runtime.workers)
    indexed = index_domains(*_domains(params.paths, params.data), workers=params.runtime.workers)
    if not embedded:
        with atomic_folder(WORLD) as folder:
            (folder / "README.txt").write_text(NO_WORLD, encoding="utf-8")  # DVC needs the output to exist
    ignored = INDEX_SOURCE.parent / ".gitignore"  # DVC's, tracked by git: not to be missed when a later stage fails
    with atomic_folder(INDEX_SOURCE.parent) as folder:
        if ignored.exists():
            shutil.copyfile(ignored, folder / ignored.name)
        for index in indexed.indexes:
            save_index(index, folder / f"{index.domain}.json")
    print(summary_table(indexed.indexes), *(f"note: {note}" for note in indexed.notes), sep="\n")


def check(params: Params) -> None:
    """Read all of the data as `prepare` does and tell what was found, at greater length; write nothing."""
    if params.paths.source == "embedded":
        raise UserError(
            "paths.source and paths.target are 'embedded', the built-in data set; --check is for folders of yours"
        )
    indexed = index_domains(*_domains(params.paths, params.data), workers=params.runtime.workers)
    notes = [*indexed.notes, *remarks(*indexed.indexes)]
    print(summary_table(indexed.indexes), "", class_table(indexed.indexes), "", sep="\n")
    print(*(f"look at: {note}" for note in notes), "No file breaks a rule; nothing was written.", sep="\n")


def _domains(paths: Paths, data: Data) -> tuple[Domain, Domain, Domain]:
    source = _domain(data, data.source, name="source", parameter="paths.source", split="train", labels_required=True,
                     folders=root_folders(paths.source, "gta5"), held_out=data.source.held_out)  # fmt: skip
    val = _domain(data, data.target, name="target_val", parameter="paths.target", split=data.target.val,
                  labels_required=True, folders=root_folders(paths.target, "cityscapes"))  # fmt: skip
    with_unlabeled = root_folders(paths.target, "cityscapes", paths.unlabeled)
    train = replace(val, name="target_train", split=data.target.train, labels_required=False, folders=with_unlabeled)
    return source, train, val


def _domain(data: Data, section: Source | Target, **rest: Any) -> Domain:
    own = data.own
    classes = task_classes(data.classes, own.class_names, own.colors or {})
    if isinstance(section, Target) and own.target_labels is not None:
        table, ignored, of_target = own.target_labels, own.target_ignored, True
    else:
        table, ignored, of_target = own.labels or {}, own.ignored, False
    labels = label_rules(section.layout, classes, table, ignored, tolerance=own.tolerance, of_target=of_target)
    resize = (section.resize[0], section.resize[1]) if section.resize else None
    return Domain(layout=section.layout, resize=resize, classes=classes, labels=labels, **rest)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.prepare_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="tell what is found, write nothing")
    options = parser.parse_args()
    with exit_on_user_error():
        if options.check:
            check(read_params(tell=["data"], with_weights=True))
            return
        with measured("prepare_data", MADE_BY["prepare_data"]):
            prepare(read_params(tell=["data"]))


if __name__ == "__main__":
    main()
