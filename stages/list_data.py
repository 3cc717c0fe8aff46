"""Stage list_data: list the data's files by name, size and time, so that DVC sees what changed on disk.

    python -m stages.list_data

Runs on every `dvc repro`. No file of the data is opened: prepare_data, which depends on the listing, reads them. What an
'embedded' path stands for is DVC's own output and is not listed. Of initial weights in a file it writes a digest, on which
the trainings depend that begin with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from dstc.config.params import Params, read_params
from dstc.config.sections import Data, Paths
from dstc.core.errors import exit_on_user_error
from dstc.core.files import write_text
from dstc.core.places import INITIAL_WEIGHTS, LISTING
from dstc.preparation.listing import listing, read_folders, weights_line


def list_data(params: Params) -> None:
    """Write a line that differs whenever a file of the user's data does, and one that does when the initial weights do."""
    line = listing(_folders(params.paths, params.data))
    write_text(LISTING, line)
    write_text(INITIAL_WEIGHTS, weights_line(params.model.initial_weights))
    print(line, end="")


def _folders(paths: Paths, data: Data) -> Iterator[Path]:
    if paths.source != "embedded":
        yield from read_folders(data.source.layout, Path(paths.source), ["train"])
        yield from read_folders(data.target.layout, Path(paths.target), [data.target.train, data.target.val])
    yield from map(Path, paths.unlabeled)


def main() -> None:
    argparse.ArgumentParser(
        "python -m stages.list_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with exit_on_user_error():
        list_data(read_params())


if __name__ == "__main__":
    main()
