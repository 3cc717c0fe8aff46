"""What every network makes of a few val images: one picture an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch

from dstc.core.errors import UserError, nearest
from dstc.core.names import normal_form
from dstc.core.taxonomy import Classes
from dstc.evaluation.inference import Network, predict
from dstc.evaluation.protocols import Normalize, ValBatch, row_scores
from dstc.evaluation.rows import ROWS
from dstc.label_maps.pictures import colorize, legend_of, save_grid


def choose(names: Sequence[str], count: int, wanted: Sequence[str]) -> list[str]:
    """The names of the images to draw: the wanted ones, or else `count` spread evenly over all."""
    by_form = {normal_form(name): name for name in names}
    for name in wanted:
        if normal_form(name) not in by_form:
            raise UserError(f"evaluate.picture_names: '{name}' is not a val image of the target{nearest(name, names)}")
    if wanted:
        return list(dict.fromkeys(by_form[normal_form(name)] for name in wanted))
    count = min(count, len(names))
    return [names[int((position + 0.5) * len(names) / count)] for position in range(count)]


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A safe PNG file name for each image name, made of its stem; distinct even where stems or letters' cases agree."""
    files: dict[str, str] = {}
    for name in names:
        stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in PurePosixPath(name).stem)
        taken, number, candidate = {file.casefold() for file in files.values()}, 1, f"{stem}.png"
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}_{number}.png"
        files[name] = candidate
    return files


@torch.inference_mode()
def draw_predictions(
    networks: Mapping[str, Network],
    batches: Iterable[ValBatch],
    *,
    normalize: Normalize,
    classes: Classes,
    device: torch.device,
    files: Mapping[str, Path],
) -> None:
    """Write one PNG an image (`files`, by image name): input, truth and every row's prediction, all at input size."""
    for images, labels, _, names in batches:
        predicted = {
            ROWS[row]: predict(score, score.shape[-2:]).to(torch.uint8).cpu()
            for row, score in row_scores(networks, normalize(images.to(device)))
        }
        for position, name in enumerate(names):
            panels = [("input", images[position].numpy())]
            panels += [
                (title, colorize(maps[position].numpy(), classes))
                for title, maps in {"truth": labels, **predicted}.items()
            ]
            save_grid(files[name], panels, legend_of(classes))
